import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from examples.control_plane.store import Store
from tests.control.fake_link import FakeLink
from tests.control.planes import Answer, Scripted, answer, example, lines, said, snapshot
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.ports import closed_port
from trioedge.control import http as module
from trioedge.control.http import MAX_CHECKS, HttpControl
from trioedge.control.http_client import NoAnswerError
from trioedge.errors import ConfigurationError
from trioedge.services.control_plane import ChecksDevices, ControlPlane, DeviceVerdict, TakesReports
from trioedge.services.policy import Policy, Settings
from trioedge.services.report import Report, Usage
from trioedge.services.snapshot import Snapshot

SHOP, CAFE = {"name": "shop", "session_rate": 20}, {"name": "cafe"}
HAS_SHOP = {"shop": Settings(Policy(session_rate=20))}
HEAD = {"version": "2", "full": True}


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long."""
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "SOONEST_SECONDS", 0.01)


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store(":memory:")
    store.put("shop", {"session_rate": 20})
    yield store
    store.close()


@asynccontextmanager
async def running(control: HttpControl) -> AsyncIterator[FakeLink]:
    link = FakeLink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.run, link)
        yield link
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def scripted(*answers: Answer, **options: Any) -> AsyncIterator[tuple[Scripted, FakeLink, HttpControl]]:
    plane = Scripted(*answers)
    async with plane.serving() as url:
        control = HttpControl(url, **options)
        async with running(control) as link:
            yield plane, link, control


async def put(url: str, name: str, settings: dict[str, Any] | None) -> None:
    """Change a service as an operator does."""
    method, body = ("DELETE", []) if settings is None else ("PUT", ["-d", json.dumps(settings)])
    await trio.run_process(["curl", "-sSf", "-X", method, f"{url}/services/{name}", *body])


# With the example.


@pytest.mark.peer("curl")
async def test_news_come_as_they_happen(store: Store) -> None:
    async with example(store) as url, running(HttpControl(url)) as link:
        await link.until(lambda link: link.reaches)
        assert link.snapshots == [Snapshot(HAS_SHOP, version=store.version)]
        await put(url, "cafe", {"enabled": False})
        await link.until(lambda link: "cafe" in link.services)
        await put(url, "shop", None)
        await link.until(lambda link: "shop" not in link.services)
        assert link.services == {"cafe": Settings(Policy(enabled=False))}
        assert [snapshot.full for snapshot in link.snapshots] == [True, False, False]
        assert link.errors == []


async def test_the_edge_starts_with_the_first_snapshot(store: Store) -> None:
    link = FakeLink()
    async with example(store) as url, trio.open_nursery() as nursery:
        with trio.fail_after(5):
            await nursery.start(HttpControl(url).run, link)
        assert link.services == HAS_SHOP
        nursery.cancel_scope.cancel()


async def test_no_news_are_asked_for_again(store: Store) -> None:
    async with example(store) as url, running(HttpControl(url, wait_seconds=0.05)) as link:
        await link.until(lambda link: link.reaches == 4)
        assert len(link.snapshots) == 1


async def test_one_that_is_down_is_waited_for(store: Store) -> None:
    port = closed_port()
    async with running(HttpControl(f"http://127.0.0.1:{port}")) as link:
        await link.until(lambda link: len(link.errors) == 2)
        assert f"GET http://127.0.0.1:{port}/v1/snapshot: " in link.errors[0]
        assert link.reaches == 0
        async with example(store, port=port):
            await link.until(lambda link: link.reaches)
            assert link.services == HAS_SHOP


async def test_after_a_restart_nothing_is_told_twice(store: Store) -> None:
    async with trio.open_nursery() as nursery:
        async with example(store) as url:
            control = HttpControl(url)
            link = FakeLink()
            await nursery.start(control.run, link)
        await link.until(lambda link: link.errors)
        store.put("cafe", {})
        async with example(store, port=int(url.rpartition(":")[2])):
            await link.until(lambda link: "cafe" in link.services)
        assert link.snapshots[1:] == [Snapshot({"cafe": Settings()}, full=False, version=store.version)]
        nursery.cancel_scope.cancel()


async def test_one_that_is_back_is_known_to_be_before_it_has_news(store: Store) -> None:
    async with trio.open_nursery() as nursery:
        async with example(store) as url:
            link = FakeLink()
            await nursery.start(HttpControl(url).run, link)
        await link.until(lambda link: link.errors)
        reaches = link.reaches
        async with example(store, port=int(url.rpartition(":")[2])):
            await link.until(lambda link: link.reaches > reaches)
        nursery.cancel_scope.cancel()


async def test_another_database_is_another_control_plane(store: Store) -> None:
    """It knows nothing of the version that the edge has, and gives all; the edge finds what that changes."""
    other = Store(":memory:")
    for name in ("shop", "bank"):
        other.put(name, {"session_rate": 20})
    store.put("cafe", {})
    async with trio.open_nursery() as nursery:
        async with example(store) as url:
            link = FakeLink()
            await nursery.start(HttpControl(url).run, link)
        async with example(other, port=int(url.rpartition(":")[2])):
            await link.until(lambda link: "bank" in link.services)
        assert link.snapshots[1:] == [
            Snapshot(
                {"bank": Settings(Policy(session_rate=20))}, frozenset({"cafe"}), full=False, version=other.version
            )
        ]
        nursery.cancel_scope.cancel()
    other.close()


async def test_devices_are_checked_and_reports_are_stored(store: Store) -> None:
    store.put("shop", {"device_limit": 1})
    store.deny("shop", "192.0.2.9", True)
    async with example(store, token="secret") as url:
        control = HttpControl(url, token="secret")
        async with running(control) as link:
            await link.until(lambda link: link.reaches)
            assert await control.check_device("shop", "192.0.2.1") == DeviceVerdict(True, 60.0)
            assert await control.check_device("shop", "192.0.2.1") == DeviceVerdict(True, 60.0)
            assert await control.check_device("shop", "192.0.2.2") == DeviceVerdict(False, 60.0, "1 devices already")
            assert await control.check_device("shop", "192.0.2.9") == DeviceVerdict(False, 60.0, "denied")
            await control.report(Report("edge-1", "a", 2, (Usage("shop", 1, 10, 20, 3, 1, 1),)))
            await control.report(Report("edge-1", "a", 1, (Usage("shop", 1, 5, 5, 5, 1, 1),)))
            await control.report(Report("edge-1", "b", 1, (Usage("shop", 1, 1, 2, 3, 1, 1),)))
    assert store.totals("shop") == {"bytes_up": 11, "bytes_down": 22, "opened": 6}


async def test_a_thousand_services_are_one_report(store: Store) -> None:
    usage = tuple(Usage(f"s{number}", 1, number, 0, 1, 1, 1) for number in range(1000))
    async with example(store) as url:
        control = HttpControl(url)
        async with running(control) as link:
            await link.until(lambda link: link.reaches)
            await control.report(Report("edge-1", "a", 1, usage))
    assert store.totals("s999")["bytes_up"] == 999


async def test_a_check_that_waits_holds_up_neither_news_nor_reports(store: Store) -> None:
    async with example(store, delay=30) as url:
        control = HttpControl(url, check_seconds=30)
        async with running(control) as link, trio.open_nursery() as nursery:
            await link.until(lambda link: link.reaches)
            for number in range(2 * MAX_CHECKS):
                nursery.start_soon(control.check_device, "shop", f"192.0.2.{number}")
            await trio.sleep(0.1)
            with trio.fail_after(2):
                await control.report(Report("edge-1", "a", 1, (Usage("shop", 1, 10, 20, 3, 1, 1),)))
            await put(url, "cafe", {})
            with trio.fail_after(2):
                await link.until(lambda link: "cafe" in link.services)
            nursery.cancel_scope.cancel()


async def test_a_token_that_is_refused_is_not_shown(store: Store) -> None:
    async with example(store, token="secret") as url:
        for token, complaint in (("hunter2", "the token is refused"), (None, "it wants a token")):
            control = HttpControl(url, token=token)
            async with running(control) as link:
                await link.until(lambda link: link.errors)
                assert link.errors[0] == f"GET {url}/v1/snapshot: {complaint}"
                with pytest.raises(NoAnswerError) as caught:
                    await control.check_device("shop", "192.0.2.1")
            assert "hunter2" not in f"{link.errors} {caught.value} {control!r}"


@pytest.mark.peer("openssl")
async def test_it_is_known_by_its_certificate(store: Store, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    await trio.run_process(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        capture_stderr=True,
    )  # fmt: skip
    async with example(store, keyfile=str(key), certfile=str(certificate)) as url:
        assert url.startswith("https://")
        async with running(HttpControl(url, ca=certificate)) as link:
            await link.until(lambda link: link.reaches)
            assert link.services == HAS_SHOP
        async with running(HttpControl(url)) as link:
            await link.until(lambda link: link.errors)
            assert "certificate verify failed" in link.errors[0]


# With one that does what it should not.


@pytest.mark.parametrize(
    ("nonsense", "error"),
    [
        (answer(b"oops", status="500 Internal Server Error"), "status 500"),
        (answer(b"", status="302 Found", location="http://192.0.2.1/"), "status 302"),
        (answer(b"", status="304 Not Modified"), "status 304"),
        (answer(b"<html>", etag='"2"'), 'does not begin with {"version"'),
        (answer(b"", etag='"2"'), "cut short"),
        (answer(lines(HEAD, {"end": 0})), "a snapshot without an ETag"),
        (answer(lines(HEAD, SHOP), etag='"2"'), "cut short: it has no end"),
        (answer(lines(HEAD, {"end": 0}), etag='"2"', content_encoding="gzip"), None),
        (snapshot([CAFE], full=False), "says only what changed"),
        (snapshot([CAFE, {"name": "x", "session_rate": 0}]), "services.x.session_rate = 0 must be a number above 0"),
        (snapshot([CAFE, CAFE]), "services.cafe is there twice"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "illegal status line"),
        (answer(b"x" * 1_100_000, etag='"2"'), "line 1 has more than 524,288 bytes"),
    ],
)
async def test_nonsense_is_refused_and_what_makes_sense_is_taken_then(nonsense: bytes, error: str | None) -> None:
    async with scripted(nonsense, snapshot([SHOP])) as (plane, link, _):
        if error is not None:
            await link.until(lambda link: link.errors)
            assert link.services == {}
            assert error in link.errors[0]
        await link.until(lambda link: link.services)
        assert link.services == HAS_SHOP
        assert len(link.errors) == (error is not None)
        assert "if-none-match" not in plane.requests[1].headers or error is None


async def close(connection: trio.SocketStream) -> None:
    """Hang up without a word."""


async def cut(connection: trio.SocketStream) -> None:
    """Say half of it."""
    whole = snapshot([SHOP, CAFE])
    await connection.send_all(whole[:-20])


async def cut_chunk(connection: trio.SocketStream) -> None:
    head = b'HTTP/1.1 200 OK\r\netag: "2"\r\ntransfer-encoding: chunked\r\n\r\n'
    part = lines(HEAD, SHOP)
    await connection.send_all(head + b"%x\r\n" % (len(part) + 10) + part)


async def stall(connection: trio.SocketStream) -> None:
    await connection.send_all(snapshot([SHOP, CAFE])[:-20])
    await trio.sleep_forever()


@pytest.mark.parametrize("rude", [close, cut, cut_chunk, stall])
async def test_a_snapshot_that_is_cut_short_is_none(rude: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.2)
    async with scripted(snapshot([SHOP]), rude, snapshot([CAFE], "2", full=False), wait_seconds=0) as (plane, link, _):
        await link.until(lambda link: link.errors)
        assert link.services == HAS_SHOP
        await link.until(lambda link: "cafe" in link.services)
        assert link.services.keys() == {"shop", "cafe"}
        assert [request.headers.get("if-none-match") for request in plane.requests][:3] == [None, '"1"', '"1"']
        assert len(link.errors) == 1


async def test_one_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.05)
    async with scripted(wait_seconds=0.05) as (_, link, _):
        await link.until(lambda link: len(link.errors) == 2)
        assert "no answer in time" in link.errors[0]


async def test_a_snapshot_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SNAPSHOT_SECONDS", 0.2)

    async def drip(connection: trio.SocketStream) -> None:
        await connection.send_all(answer(b"", length=1_000_000, etag='"1"'))
        while True:
            await connection.send_all(b" ")
            await trio.sleep(0.01)

    async with scripted(drip) as (_, link, _):
        await link.until(lambda link: link.errors)
        assert "no answer in time" in link.errors[0]


async def test_one_that_does_not_wait_is_not_asked_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOONEST_SECONDS", 0.1)
    nothing_new = answer(b"", status="304 Not Modified")
    async with scripted(snapshot([SHOP]), *[nothing_new] * 100) as (plane, link, _):
        await link.until(lambda link: link.reaches)
        await trio.sleep(0.35)
        assert 2 <= len(plane.requests) <= 6


async def test_one_that_fails_is_asked_less_and_less_often() -> None:
    async with scripted(*[answer(b"", status="503 Service Unavailable")] * 100) as (plane, _, _):
        await trio.sleep(0.5)
        assert 2 <= len(plane.requests) <= 8  # 0.02 s doubled four or five times fill it


async def test_after_a_good_answer_a_failure_is_a_first_failure_again() -> None:
    down, nothing_new = answer(b"", status="503 Oops"), answer(b"", status="304 Not Modified")
    async with scripted(*[down] * 5, snapshot([SHOP]), down, nothing_new) as (_, link, _):
        await link.until(lambda link: link.reaches == 1)
        began = trio.current_time()
        await link.until(lambda link: link.reaches == 2)
        assert trio.current_time() - began < 0.3, "the sixth failure in a row would cost 0.3 s at least"


async def test_what_is_asked_for_is_what_is_promised() -> None:
    good = [snapshot([SHOP]), answer(b"", status="304 Not Modified")]
    async with scripted(*good, token="secret", wait_seconds=1.5) as (plane, link, _):
        await link.until(lambda link: link.reaches == 2)
        first, second = plane.requests[:2]
        assert [str(first), str(second)] == ["GET /v1/snapshot", "GET /v1/snapshot?wait=1.5"]
        assert "if-none-match" not in first.headers
        assert second.headers["if-none-match"] == '"1"'
        assert first.headers["authorization"] == second.headers["authorization"] == "Bearer secret"
        assert first.headers["accept-encoding"] == "identity"


async def test_a_report_is_written_as_promised() -> None:
    async with scripted() as (plane, _, control):
        await trio.sleep(0.05)
        plane.answers.append(said({"acknowledged": 7}))
        await control.report(
            Report("edge-1", "a", 7, (Usage("shop", 1, 10, 20, 3, 2, 1), Usage("cafe", 4, 0, 0, 1, 1, 1)))
        )
        request = plane.requests[-1]
        assert str(request) == "POST /v1/report"
        assert request.headers["content-type"] == "application/json"
        assert json.loads(request.body) == {
            "edge": "edge-1", "epoch": "a", "sequence": 7,
            "services": [
                {"service": "shop", "incarnation": 1, "bytes_up": 10, "bytes_down": 20, "opened": 3, "live": 2,
                 "sources": 1},
                {"service": "cafe", "incarnation": 4, "bytes_up": 0, "bytes_down": 0, "opened": 1, "live": 1,
                 "sources": 1},
            ],
        }  # fmt: skip


@pytest.mark.parametrize(
    ("nonsense", "error"),
    [
        (said({"acknowledged": 6}), "report 7 was answered by {'acknowledged': 6}"),
        (said({"acknowledged": "7"}), "was answered by"),
        (said({}), "was answered by {}"),
        (said(None), "was answered by None"),
        (answer(b"thanks"), "not JSON: b'thanks'"),
        (answer(b"[" * 60_000), "not JSON"),
        (answer(b""), "not JSON: b''"),
        (answer(b"{}" * 40_000), "more than 65,536 bytes"),
        (answer(b"", status="500 Oops"), "POST http://127.0.0.1:"),
        (answer(b"", status="204 No Content"), "status 204"),
        (answer(b'{"ackno', length=20), "peer closed connection"),
    ],
)
async def test_whatever_is_no_acknowledgement_is_none(nonsense: bytes, error: str) -> None:
    async with scripted() as (plane, _, control):
        await trio.sleep(0.05)

        async def once(connection: trio.SocketStream) -> None:
            await connection.send_all(nonsense)

        plane.answers.append(once)
        with pytest.raises(NoAnswerError) as caught:
            await control.report(Report("edge-1", "a", 7, ()))
        assert error in str(caught.value)


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ({"accept": True}, DeviceVerdict(True, 60.0)),
        ({"accept": False, "seconds": 5, "detail": "stolen", "more": 1}, DeviceVerdict(False, 5.0, "stolen")),
        ({"accept": True, "seconds": 0.5}, DeviceVerdict(True, 0.5)),
        ({"accept": 1}, None),
        ({"accept": "yes"}, None),
        ({}, None),
        ([], None),
        ({"accept": True, "seconds": 0}, None),
        ({"accept": True, "seconds": True}, None),
        ({"accept": True, "seconds": "60"}, None),
        ({"accept": True, "seconds": 10**400}, None),
        ({"accept": True, "seconds": float("nan")}, None),
        ({"accept": True, "detail": 3}, None),
    ],
)
async def test_a_verdict_is_well_formed_or_none(words: object, verdict: DeviceVerdict | None) -> None:
    async with scripted() as (plane, _, control):
        await trio.sleep(0.05)
        plane.answers.append(said(words))
        if verdict is None:
            with pytest.raises(NoAnswerError, match="a device check was answered by"):
                await control.check_device("shop", "192.0.2.1")
        else:
            assert await control.check_device("shop", "192.0.2.1") == verdict
        assert str(plane.requests[-1]) == "POST /v1/devices/check"
        assert json.loads(plane.requests[-1].body) == {"service": "shop", "device": "192.0.2.1"}


async def test_a_check_takes_no_longer_than_it_may() -> None:
    async with scripted(check_seconds=0.1) as (_, _, control):
        await trio.sleep(0.05)
        began = trio.current_time()
        with pytest.raises(NoAnswerError, match=r"no answer to a device check within 0\.1 s"):
            await control.check_device("shop", "192.0.2.1")
        assert trio.current_time() - began < 0.5


async def test_a_check_may_be_cancelled_and_the_next_is_answered() -> None:
    async with scripted() as (plane, _, control):
        await trio.sleep(0.05)
        with trio.move_on_after(0.05) as scope:
            await control.check_device("shop", "192.0.2.1")
        assert scope.cancelled_caught
        plane.answers.append(said({"accept": True}))
        assert (await control.check_device("shop", "192.0.2.1")).accept


async def test_nobody_is_asked_while_no_edge_runs() -> None:
    control = HttpControl("http://127.0.0.1:9")
    async with running(control) as link:
        await link.until(lambda link: link.errors)
    for ask in (
        partial(control.check_device, "shop", "192.0.2.1"),
        partial(control.report, Report("edge-1", "a", 1, ())),
    ):
        with pytest.raises(NoAnswerError, match="nobody may ask now"):
            await ask()


async def test_a_cancel_takes_no_time_wherever_it_comes(store: Store) -> None:
    async with example(store) as url:
        for seconds in (0, 0.001, 0.005, 0.02, 0.2):
            with trio.move_on_after(seconds) as scope:
                await HttpControl(url).run(FakeLink())
            assert scope.cancelled_caught
            assert trio.current_time() - scope.deadline < 0.5


async def test_a_cancel_leaves_nothing_open_wherever_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it connects, receives a snapshot, lets it hold, and frees one with a fault: a hundred times, a second.

    Work rests at each step, so that a cancel can come between any two.
    """
    monkeypatch.setattr(module, "SOONEST_SECONDS", 0.0)
    monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", 1e-9)
    links: list[FakeLink] = []

    async def live() -> None:
        plane = Scripted(snapshot([SHOP, CAFE]), snapshot([CAFE, {"name": "shop", "session_rate": 0}], "2"))
        async with plane.serving() as url, running(HttpControl(url)) as link:
            links.append(link)
            await link.until(lambda link: link.errors)

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before
        assert [len(each.services) for each in links[-1].snapshots] in ([], [2]), "all of it or nothing"

    assert await cancel_at_every_step(live, check) > 40
    assert "snapshot refused" in links[-1].errors[0]


async def test_one_control_can_serve_one_edge_after_another(store: Store) -> None:
    async with example(store) as url:
        control = HttpControl(url)
        for _ in range(2):
            async with running(control) as link:
                await link.until(lambda link: link.reaches)
                assert link.snapshots == [Snapshot(HAS_SHOP, version=store.version)]


# What it is given.


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"url": "ftp://control.example"}, "HttpControl('ftp://control.example') must be like"),
        ({"url": "https://control.example", "token": ""}, "HttpControl(token=...) must be printable ASCII"),
        ({"url": "https://control.example", "ca": "/nowhere.pem"}, "HttpControl(ca='/nowhere.pem') cannot be read"),
        ({"url": "https://control.example", "wait_seconds": -1}, "wait_seconds=-1"),
        ({"url": "https://control.example", "check_seconds": 0}, "check_seconds=0"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpControl(**arguments)
    assert complaint in str(caught.value)


def test_it_is_all_that_a_control_plane_can_be() -> None:
    control = HttpControl("https://control.example/edges")
    assert isinstance(control, ControlPlane)
    assert isinstance(control, ChecksDevices)
    assert isinstance(control, TakesReports)
    assert repr(control) == "HttpControl('https://control.example/edges')"
    assert (
        repr(HttpControl("https://control.example", token="x")) == "HttpControl('https://control.example', token=...)"
    )
