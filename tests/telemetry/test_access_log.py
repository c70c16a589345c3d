import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.cancels import cancel_at_every_step
from tests.support.ports import closed_port
from tests.support.wires import connect, edge_to, server, serving, silent
from trioedge.session.verdict import Completed, Reason, Reject
from trioedge.telemetry.access_log import GATHER_SECONDS, AccessLog
from trioedge.telemetry.log import EdgeLog
from trioedge.telemetry.records import CAPACITY
from trioedge.testing import make_session, open_edge


@te.decision
def only_ours(session: te.Session) -> te.Verdict:
    session.device = "phone\nid=9"
    return te.CONTINUE if session.source == "192.0.2.1" else te.Reject(te.Reason.POLICY, "not ours")


@te.middleware
async def with_a_task(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


def make_edge(log: AccessLog | None, **more: Any) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:1", [only_ours], te.Forward("tcp://192.0.2.9:80"), access_log=log, **more)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert [thread for thread in threading.enumerate() if thread not in before and "access" in thread.name] == []


async def two_sessions(edge: te.Edge) -> None:
    """One that runs and one that is refused."""
    async with open_edge(edge) as world:
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        await client.finish()
        assert await client.receive_all() == b""
        await client.ended()
        await (await world.connect("192.0.2.2")).ended()


async def test_each_session_is_a_line_with_its_facts(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    await two_sessions(make_edge(AccessLog(tmp_path / "access.log")))
    ran, refused = lines((tmp_path / "access.log").read_text())
    assert (ran["id"], ran["outcome"], ran["reason"], ran["source"], ran["service"]) == (
        1, "ended", "finished", "192.0.2.1", "default",
    )  # fmt: skip
    assert (ran["upstream"], ran["bytes_up"], ran["bytes_down"], ran["stage"]) == ("tcp://192.0.2.9:80", 4, 4, None)
    assert ran["device"] == "phone\nid=9"
    assert ran["connect_ms"] is not None
    assert (refused["id"], refused["outcome"], refused["reason"], refused["detail"], refused["stage"]) == (
        2, "refused", "policy", "not ours", "only_ours",
    )  # fmt: skip
    assert (refused["upstream"], refused["connect_ms"]) == (None, None)


@pytest.mark.parametrize(
    ("options", "ids"),
    [({}, [1, 2]), ({"only": "refused"}, [2]), ({"sample": 0}, []), ({"sample": 1.0}, [1, 2])],
)
async def test_sessions_are_chosen(
    options: dict[str, Any], ids: list[int], autojump_clock: trio.testing.MockClock
) -> None:
    stream = io.StringIO()
    await two_sessions(make_edge(AccessLog(stream, **options)))
    assert [line["id"] for line in lines(stream.getvalue())] == ids


async def test_text_is_for_people_and_one_line_a_session(autojump_clock: trio.testing.MockClock) -> None:
    stream = io.StringIO()
    await two_sessions(make_edge(AccessLog(stream, format="text")))
    first, second = stream.getvalue().splitlines()
    assert " outcome=ended reason=finished " in first
    assert ' device="phone\\nid=9" ' in first
    assert second.endswith('stage=only_ours detail="not ours"')


@pytest.mark.parametrize("to", ["-", "stderr"])
async def test_stdout_and_stderr_have_names(
    to: str, autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    await two_sessions(make_edge(AccessLog(to)))
    captured = capsys.readouterr()
    said = captured.out if to == "-" else captured.err
    assert [line["id"] for line in lines("".join(line for line in said.splitlines(True) if line[0] == "{"))] == [1, 2]


async def test_an_edge_without_an_access_log_makes_no_record(autojump_clock: trio.testing.MockClock) -> None:
    edge = make_edge(None)
    await two_sessions(edge)
    assert edge._run is not None
    assert edge._run._log.ends.total == 0


async def test_a_file_is_appended_to_and_only_its_group_may_read_it(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    edge = make_edge(AccessLog(path))
    for _ in range(2):
        await two_sessions(edge)
    assert [line["id"] for line in lines(path.read_text())] == [1, 2, 1, 2]
    assert path.stat().st_mode & 0o137 == 0


async def test_lines_come_a_tenth_of_a_second_later_and_an_idle_log_asks_for_no_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stream, log = io.StringIO(), EdgeLog()
    live = AccessLog(stream).open(log)
    session = make_session()
    async with trio.open_nursery() as nursery:
        await nursery.start(live.run)
        await trio.sleep(3600)
        for number in range(5):
            log.ends.add(session, Reject(Reason.RATE, str(number)))
        began = trio.current_time()
        while not stream.getvalue():
            await trio.sleep(GATHER_SECONDS / 4)
            live._writer.flush(10)
        assert trio.current_time() - began <= 1.5 * GATHER_SECONDS
        assert [line["detail"] for line in lines(stream.getvalue())] == list("01234")
        nursery.cancel_scope.cancel()
    await live.close()


async def test_a_flood_loses_lines_and_says_how_many(autojump_clock: trio.testing.MockClock) -> None:
    stream, log = io.StringIO(), EdgeLog()
    session = make_session()
    flood = 3 * CAPACITY
    with capture_logs() as logs:
        live = AccessLog(stream).open(log)
        async with trio.open_nursery() as nursery:
            await nursery.start(live.run)
            await trio.sleep(1)
            for _ in range(flood):
                log.ends.add(session, Reject(Reason.RATE))
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        await live.close()
    assert len(lines(stream.getvalue())) == CAPACITY
    assert [(entry["event"], entry["count"]) for entry in logs] == [("access log lines dropped", flood - CAPACITY)]


async def test_a_disk_that_is_full_costs_lines_and_no_session(autojump_clock: trio.testing.MockClock) -> None:
    with capture_logs() as logs:
        await two_sessions(make_edge(AccessLog("/dev/full")))
    dropped = [entry for entry in logs if entry["event"] == "access log lines dropped"]
    assert [(entry["count"], entry["to"]) for entry in dropped] == [(2, "/dev/full")]


async def test_a_reader_of_a_pipe_that_sleeps_holds_up_nothing(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.telemetry.access_log.CLOSE_SECONDS", 0.01)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = EdgeLog()
    live = AccessLog(path).open(log)
    session = make_session()
    for _ in range(CAPACITY):
        log.ends.add(session, Reject(Reason.RATE, "x" * 100))
    await live.close()  # more than the pipe takes
    os.set_blocking(reader, True)
    with os.fdopen(reader, "rb") as pipe:
        assert len(pipe.read().splitlines()) == CAPACITY
    thread = live._writer.thread
    assert thread is not None
    thread.join(10)


async def test_an_edge_ends_in_order_where_the_system_has_no_thread_left(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.to_thread, "run_sync", refuse)
    await two_sessions(make_edge(AccessLog(tmp_path / "access.log")))
    assert len(lines((tmp_path / "access.log").read_text())) == 2


async def test_a_clock_that_is_off_by_thousands_of_years_costs_lines(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.telemetry.access_log.time.time", lambda: 1e12)
    stream = io.StringIO()
    with capture_logs() as logs:
        await two_sessions(make_edge(AccessLog(stream)))
    assert [entry["count"] for entry in logs if entry["event"] == "access log lines dropped"] == [2]
    assert stream.getvalue() == ""


async def test_a_stream_that_raises_costs_lines(autojump_clock: trio.testing.MockClock) -> None:
    stream = io.StringIO()
    stream.close()
    with capture_logs() as logs:
        await two_sessions(make_edge(AccessLog(stream)))
    assert [entry["count"] for entry in logs if entry["event"] == "access log lines dropped"] == [2]


@pytest.mark.parametrize("stages", [[], [with_a_task]])
async def test_a_session_without_an_upstream_names_the_one_it_wanted(stages: list[object]) -> None:
    stream, nowhere = io.StringIO(), closed_port()
    edge = edge_to(nowhere, *stages, access_log=AccessLog(stream), connect_seconds=0.2)
    async with serving(edge) as port:
        client = await connect(port)
        async with client:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
    (line,) = lines(stream.getvalue())
    assert (line["outcome"], line["reason"], line["upstream"]) == (
        "ended", "upstream_refused", f"tcp://127.0.0.1:{nowhere}",
    )  # fmt: skip
    assert (line["connect_ms"], line["bytes_up"], line["stage"]) == (None, 0, None)
    assert line["detail"]


async def test_a_session_that_is_cut_after_a_silence_has_the_time_of_its_cut() -> None:
    stream = io.StringIO()
    async with server(silent) as upstream:
        edge = edge_to(upstream, access_log=AccessLog(stream))
        async with serving(edge) as port, await connect(port):
            while not len(edge.sessions):
                await trio.sleep(0.01)
            await trio.sleep(0.3)  # in which no event moves the edge's clock
            assert edge.evict(source="127.0.0.1") == 1
    (line,) = lines(stream.getvalue())
    assert line["reason"] == "evicted"
    assert 0.3 <= line["seconds"] < 5


async def test_a_file_that_was_renamed_is_opened_again(tmp_path: Path) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    async with server() as upstream:
        edge = edge_to(upstream, access_log=AccessLog(path))
        async with serving(edge) as port:
            await (await connect(port)).aclose()
            while not path.read_text():
                await trio.sleep(0.01)
            path.rename(old)
            edge.reload()
            await (await connect(port)).aclose()
            while not (path.exists() and path.read_text()):
                await trio.sleep(0.01)
    assert [line["id"] for line in lines(old.read_text())] == [1]
    assert [line["id"] for line in lines(path.read_text())] == [2]


async def test_where_the_folder_is_gone_the_open_file_stays_in_use_and_the_log_says_why(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    edge = make_edge(AccessLog(folder / "access.log"))
    with capture_logs() as logs:
        async with open_edge(edge) as world:
            kept = os.open(folder / "access.log", os.O_RDONLY)
            (folder / "access.log").unlink()
            folder.rmdir()
            edge.reload()
            await (await world.connect("192.0.2.2")).ended()
            await trio.sleep(1)
    with os.fdopen(kept) as file:
        assert [line["id"] for line in lines(file.read())] == [1]
    assert ["No such file" in entry["error"] for entry in logs if "opened again" in entry["event"]] == [True]


async def test_a_file_that_cannot_be_opened_keeps_the_edge_from_starting(tmp_path: Path) -> None:
    edge = make_edge(AccessLog(tmp_path / "none" / "access.log"))
    with pytest.raises(te.ConfigurationError, match=r"access\.log cannot be opened: No such file or directory"):
        await edge.serve()
    assert edge.phase.value == "stopped"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ([""], {}, "AccessLog('') must be the path of a file, '-', 'stderr' or a stream"),
        ([7], {}, "AccessLog(7) must be the path of a file"),
        ([None], {}, "AccessLog(None) must be the path of a file"),
        ([], {"format": "xml"}, "AccessLog(format='xml') must be 'json' or 'text'"),
        ([], {"only": "errors"}, "AccessLog(only='errors') must be 'all' or 'refused'"),
        ([], {"sample": 10}, "AccessLog(sample=10) must be at most 1"),
        ([], {"sample": -1}, "AccessLog(sample=-1) must be"),
        ([], {"sample": "1"}, "AccessLog(sample='1') must be"),
    ],
)
def test_wrong_arguments(arguments: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        AccessLog(*arguments, **options)
    assert str(refusal.value).startswith(message)


def test_an_edge_takes_an_access_log_only() -> None:
    with pytest.raises(
        te.ConfigurationError, match=r"access_log='access\.log'\) must be an AccessLog: write access_log=te"
    ):
        make_edge("access.log")  # type: ignore[arg-type]


def test_it_says_what_it_is() -> None:
    assert repr(AccessLog("a.log", sample=0.5)) == "AccessLog('a.log', format='json', only='all', sample=0.5)"


async def test_a_cancel_at_any_step_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"

    total = 0

    async def steps() -> None:
        nonlocal total
        log = EdgeLog()
        live = AccessLog(path).open(log)
        log.ends.add(make_session(), Completed())
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(live.run)
                log.ends.add(make_session(), Completed())
                await trio.sleep(2 * GATHER_SECONDS)
                nursery.cancel_scope.cancel()
        finally:
            total = log.ends.total
            await live.close()

    def check() -> None:
        assert len(path.read_text().splitlines()) == total > 0
        path.unlink()

    assert await cancel_at_every_step(steps, check) > 3
