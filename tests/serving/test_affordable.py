"""Runtime tests: how many sessions an edge takes by default."""

import os
import resource
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

import trioedge as te
from tests.support.shared_memory import make_limits
from trioedge.loop.parting import MAX_PARTING
from trioedge.services.sharing.worker_share import WorkerShare
from trioedge.serving.affordable import MAX_HANDSHAKES, SPARE_DESCRIPTORS, affordable_sessions, memory_bytes
from trioedge.session.outline import outline
from trioedge.testing import open_edge


@pytest.mark.parametrize(("files", "sessions"), [(1024, (1024 - SPARE_DESCRIPTORS - 100) // 2), (65, 1), (10, 1)])
async def test_max_sessions_is_by_default_what_the_file_descriptors_allow(
    files: int, sessions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward("tcp://192.0.2.9:1", preconnect=100))
    async with open_edge(edge):
        assert edge._run.sessions.crowd.maximum == sessions  # type: ignore[union-attr]


@te.handshake
def talks(session: te.Session) -> te.Steps:
    yield te.Read(1)
    return te.CONTINUE


@te.middleware
async def around(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


@pytest.mark.parametrize(
    ("files", "stages", "wanted", "handshakes", "kept"),
    [
        (1_024, [talks], None, 128, 128 + MAX_PARTING),
        (1_024, [talks], 300, 300, 300 + MAX_PARTING),
        (100_000, [talks, around], None, MAX_HANDSHAKES, MAX_HANDSHAKES + MAX_PARTING),
        (1_024, [around, talks], None, 128, 0),  # in tasks, where each is a session
        (1_024, [], None, 128, 0),
        (256, [talks], None, 32, 256),
    ],
)
async def test_handshakes_and_last_words_have_descriptors_of_their_own(
    files: int, stages: list[object], wanted: int | None, handshakes: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    edge = te.Edge("tcp://127.0.0.1:6380", stages, te.Forward("tcp://192.0.2.9:1"), max_handshakes=wanted)
    affordable = affordable_sessions(edge.outline, wanted)
    assert affordable.handshakes == handshakes
    assert affordable.files == max(1, (files - SPARE_DESCRIPTORS - kept) // 2)
    async with open_edge(edge):
        sessions = edge._run.sessions  # type: ignore[union-attr]
        assert sessions is not None
        assert sessions.waiting.maximum == handshakes


@pytest.mark.parametrize("wanted", [0, -1, 1.5, "many"])
def test_a_number_of_handshakes_that_is_none_is_refused(wanted: Any) -> None:
    with pytest.raises(te.ConfigurationError, match="max_handshakes"):
        te.Edge("tcp://127.0.0.1:6380", [talks], te.Forward("tcp://192.0.2.9:1"), max_handshakes=wanted)


async def test_the_limit_of_files_is_read_when_the_edge_starts_also_for_its_idle_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward(), control=te.MemoryControl())
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20_000, 20_000))
    async with open_edge(edge):
        assert edge._run.sessions.crowd.maximum == (20_000 - SPARE_DESCRIPTORS - 2_500) // 2  # type: ignore[union-attr]


@pytest.mark.parametrize(("files", "listeners"), [(1_024, 128), (20_000, 2_500), (4, 1)])
async def test_listeners_of_services_have_an_eighth_of_the_descriptors(
    files: int, listeners: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    edge = te.Edge([], [], te.Forward("tcp://192.0.2.9:1"), control=te.MemoryControl(), open_ports="tcp://[::]:1-65535")
    affordable = affordable_sessions(edge.outline, opens_ports=True)
    assert affordable.listeners == listeners
    assert affordable.files == max(1, (files - SPARE_DESCRIPTORS - listeners) // 2)
    assert affordable_sessions(edge.outline).listeners == 0
    async with open_edge(edge):
        assert edge._run.sessions.crowd.maximum == affordable.files  # type: ignore[union-attr]


async def test_the_memory_bounds_sessions_whose_clients_do_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_048_576, 1_048_576))
    monkeypatch.setattr("trioedge.serving.affordable.memory_bytes", lambda: 2**30)
    edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward("tcp://192.0.2.9:1"))
    async with open_edge(edge):
        assert edge._run.sessions.crowd.maximum == 2**30 // 2 // (2 * 65_536)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("files", "wanted", "named"),
    [(32, None, True), (1024, None, False), (1024, 10_000, True), (1024, 400, False)],
)
async def test_the_log_names_a_limit_of_open_files_that_is_too_low(
    files: int, wanted: int | None, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward("tcp://192.0.2.9:1"), max_sessions=wanted)
    with capture_logs() as logs:
        async with open_edge(edge):
            pass
    said = [each for each in logs if each["event"] == "few open files"]
    assert [each["limit"] for each in said] == [files] * named


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/a/b\n", {"memory.max": "900", "a/memory.max": "max", "a/b/memory.max": "700"}, 700),
        ("0::/a/b\n", {"memory.max": "500", "a/memory.max": "600", "a/b/memory.max": "max"}, 500),
        ("0::/host/of/a/container\n", {"memory.max": "400"}, 400),
        ("5:memory:/c\n1:cpu:/c\n", {"memory/c/memory.limit_in_bytes": "300"}, 300),
        ("0::/\n", {"memory.max": "max"}, None),
        ("0::/\n", {"memory.max": "many"}, None),
        ("", {}, None),
    ],
)
def test_the_memory_of_a_process_is_the_lowest_limit_of_its_control_groups(
    own: str, files: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory_bytes(tmp_path / "fs", tmp_path / "own") == (machine if limit is None else limit)


@pytest.mark.parametrize(("workers", "wanted", "each"), [(2, 100, 50), (3, 100, 33), (4, 3, 1), (1, 7, 7)])
def test_workers_divide_max_handshakes(workers: int, wanted: int, each: int) -> None:
    share = WorkerShare(workers, make_limits().of("web", 0, 0.0))
    chain = outline([talks], te.Forward("tcp://127.0.0.1:1"))
    assert affordable_sessions(chain, wanted, share=share).handshakes == each
    alone = affordable_sessions(chain)
    assert affordable_sessions(chain, share=share) == alone, "the default is that of each process"


@pytest.mark.parametrize(
    ("stages", "workers", "sockets"),
    [
        ([te.ProxyProtocol(["10.0.0.0/8"])], 2, 2),
        ([te.IdleTimeout(9), te.ProxyProtocol(["10.0.0.0/8"])], 2, 4),
        ([te.IdleTimeout(9), te.ProxyProtocol(["10.0.0.0/8"])], None, 2),
        ([te.IdleTimeout(9), talks], 2, 2),
    ],
)
def test_a_session_that_may_be_counted_in_one_worker_and_carried_in_another_has_a_line_to_both(
    stages: list[object], workers: int | None, sockets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10_064, 10_064))
    share = None if workers is None else WorkerShare(workers, make_limits().of("web", 0, 0.0))
    found = affordable_sessions(outline(stages, te.Forward("tcp://192.0.2.9:1")), 1_000, share=share)
    kept = MAX_PARTING + (1_000 if share is None else 500)
    assert found.files == (10_000 - kept) // sockets
