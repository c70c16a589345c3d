"""HttpControl against a server with scripted answers: the contract, and every way to break it."""

import json
from itertools import pairwise
from typing import Any

import pytest
import trio

from tests.support.control_planes import Scripted, answer, json_answer, lines, scripted, snapshot
from tests.support.fake_link import PATIENCE, FakeLink
from tests.support.slow_link import SlowLink
from trioedge.control import arrivals, retry_after
from trioedge.control import http as module
from trioedge.control.http import HttpControl
from trioedge.control.http_client import NoAnswerError
from trioedge.services.control_plane import DeviceVerdict, SnapshotError
from trioedge.services.policy import Policy, Settings
from trioedge.services.report import Report, Usage
from trioedge.services.snapshot import Plan, Snapshot

SHOP, CAFE = {"name": "shop", "session_rate": 20}, {"name": "cafe"}
HAS_SHOP = {"shop": Settings(Policy(session_rate=20))}
HEAD = {"version": "2", "full": True}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "SOONEST_SECONDS", 0.01)
    monkeypatch.setattr(arrivals, "AHEAD_SECONDS", 1.0)  # no snapshot of these tests takes that long by itself


async def polled(plane: Scripted) -> None:
    """Wait for the request for a snapshot, so that the next answer is another one's."""
    with trio.fail_after(PATIENCE):
        while not plane.requests:
            await trio.sleep(0.005)


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
async def test_a_wrong_answer_is_refused_and_the_next_snapshot_is_applied(nonsense: bytes, error: str | None) -> None:
    async with scripted(nonsense, snapshot([SHOP])) as (plane, link, _):
        if error is not None:
            await link.until(lambda link: link.errors)
            assert link.services == {}
            assert error in link.errors[0]
        await link.until(lambda link: link.services)
        assert link.services == HAS_SHOP
        assert len(link.errors) == (error is not None)
        assert "if-none-match" not in plane.requests[1].headers or error is None


async def hang_up(connection: trio.SocketStream) -> None:
    """Close without an answer."""


async def cut(connection: trio.SocketStream) -> None:
    """Send a part of the snapshot, and close."""
    whole = snapshot([SHOP, CAFE])
    await connection.send_all(whole[:-20])


async def cut_chunk(connection: trio.SocketStream) -> None:
    head = b'HTTP/1.1 200 OK\r\netag: "2"\r\ntransfer-encoding: chunked\r\n\r\n'
    part = lines(HEAD, SHOP)
    await connection.send_all(head + b"%x\r\n" % (len(part) + 10) + part)


async def stall(connection: trio.SocketStream) -> None:
    await connection.send_all(snapshot([SHOP, CAFE])[:-20])
    await trio.sleep_forever()


@pytest.mark.parametrize("rude", [hang_up, cut, cut_chunk, stall])
async def test_a_snapshot_that_is_cut_short_changes_nothing(rude: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.2)
    async with scripted(snapshot([SHOP]), rude, snapshot([CAFE], "2", full=False), wait_seconds=0) as (plane, link, _):
        await link.until(lambda link: link.errors)
        assert link.services == HAS_SHOP
        await link.until(lambda link: "cafe" in link.services)
        assert link.services.keys() == {"shop", "cafe"}
        assert [request.headers.get("if-none-match") for request in plane.requests][:3] == [None, '"1"', '"1"']
        assert len(link.errors) == 1


async def test_a_request_without_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.05)
    async with scripted(wait_seconds=0.05) as (_, link, _):
        await link.until(lambda link: len(link.errors) == 2)
        assert "no answer in time" in link.errors[0]


async def test_a_snapshot_that_comes_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SNAPSHOT_SECONDS", 0.2)

    async def drip(connection: trio.SocketStream) -> None:
        await connection.send_all(answer(b"", length=1_000_000, etag='"1"'))
        while True:
            await connection.send_all(b" ")
            await trio.sleep(0.01)

    async with scripted(drip) as (_, link, _):
        await link.until(lambda link: link.errors)
        assert "no answer in time" in link.errors[0]


async def test_a_control_plane_that_answers_at_once_is_asked_ten_times_a_second_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SOONEST_SECONDS", 0.1)
    nothing_new = answer(b"", status="304 Not Modified")
    async with scripted(snapshot([SHOP]), *[nothing_new] * 100) as (plane, link, _):
        await link.until(lambda link: link.reaches)
        await trio.sleep(0.35)
        assert 2 <= len(plane.requests) <= 6


async def test_a_control_plane_that_fails_is_asked_less_and_less_often() -> None:
    async with scripted(*[answer(b"", status="503 Service Unavailable")] * 100) as (plane, _, _):
        await trio.sleep(0.5)
        assert 2 <= len(plane.requests) <= 8  # 0.02 s doubled four or five times fill it


async def test_after_a_good_answer_the_pauses_begin_anew() -> None:
    down, nothing_new = answer(b"", status="503 Oops"), answer(b"", status="304 Not Modified")
    async with scripted(*[down] * 5, snapshot([SHOP]), down, nothing_new) as (_, link, _):
        await link.until(lambda link: link.reaches == 1)
        began = trio.current_time()
        await link.until(lambda link: link.reaches == 2)
        assert trio.current_time() - began < 0.3, "the sixth failure in a row would cost 0.3 s at least"


async def test_requests_for_a_snapshot_are_as_in_the_contract() -> None:
    good = [snapshot([SHOP]), answer(b"", status="304 Not Modified")]
    async with scripted(*good, token="secret", wait_seconds=1.5) as (plane, link, _):
        await link.until(lambda link: link.reaches == 2)
        first, second = plane.requests[:2]
        assert [str(first), str(second)] == ["GET /v1/snapshot", "GET /v1/snapshot?wait=1.5"]
        assert "if-none-match" not in first.headers
        assert second.headers["if-none-match"] == '"1"'
        assert first.headers["authorization"] == second.headers["authorization"] == "Bearer secret"
        assert first.headers["accept-encoding"] == "identity"


async def test_a_report_is_written_as_in_the_contract() -> None:
    async with scripted() as (plane, _, control):
        await polled(plane)
        plane.answers.append(json_answer({"acknowledged": 7}))
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
                 "sources": 1, "listen_errors": []},
                {"service": "cafe", "incarnation": 4, "bytes_up": 0, "bytes_down": 0, "opened": 1, "live": 1,
                 "sources": 1, "listen_errors": []},
            ],
        }  # fmt: skip


@pytest.mark.parametrize(
    ("nonsense", "error"),
    [
        (json_answer({"acknowledged": 6}), "report 7 was answered by {'acknowledged': 6}"),
        (json_answer({"acknowledged": "7"}), "was answered by"),
        (json_answer({}), "was answered by {}"),
        (json_answer(None), "was answered by None"),
        (answer(b"thanks"), "not JSON: b'thanks'"),
        (answer(b"[" * 60_000), "not JSON"),
        (answer(b""), "not JSON: b''"),
        (answer(b"{}" * 40_000), "more than 65,536 bytes"),
        (answer(b"", status="500 Oops"), "POST http://127.0.0.1:"),
        (answer(b"", status="204 No Content"), "status 204"),
        (answer(b'{"ackno', length=20), "peer closed connection"),
    ],
)
async def test_a_report_with_a_wrong_answer_is_not_acknowledged(nonsense: bytes, error: str) -> None:
    async with scripted() as (plane, _, control):
        await polled(plane)

        async def once(connection: trio.SocketStream) -> None:
            await connection.send_all(nonsense)

        plane.answers.append(once)
        with pytest.raises(NoAnswerError) as caught:
            await control.report(Report("edge-1", "a", 7, ()))
        assert error in str(caught.value)


@pytest.mark.parametrize(
    ("value", "verdict"),
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
async def test_a_verdict_of_the_wrong_form_is_no_answer(value: object, verdict: DeviceVerdict | None) -> None:
    async with scripted() as (plane, _, control):
        await polled(plane)
        plane.answers.append(json_answer(value))
        if verdict is None:
            with pytest.raises(NoAnswerError, match="a device check was answered by"):
                await control.check_device("shop", "192.0.2.1")
        else:
            assert await control.check_device("shop", "192.0.2.1") == verdict
        assert str(plane.requests[-1]) == "POST /v1/devices/check"
        assert json.loads(plane.requests[-1].body) == {"service": "shop", "device": "192.0.2.1"}


async def test_a_check_without_an_answer_ends_after_check_seconds() -> None:
    async with scripted(check_seconds=0.1) as (plane, _, control):
        await polled(plane)
        began = trio.current_time()
        with pytest.raises(NoAnswerError, match=r"no answer to a device check within 0\.1 s"):
            await control.check_device("shop", "192.0.2.1")
        assert trio.current_time() - began < 0.5


async def test_after_a_check_that_was_cancelled_the_next_is_answered() -> None:
    async with scripted() as (plane, _, control):
        await polled(plane)
        with trio.move_on_after(0.05) as scope:
            await control.check_device("shop", "192.0.2.1")
        assert scope.cancelled_caught
        plane.answers.append(json_answer({"accept": True}))
        assert (await control.check_device("shop", "192.0.2.1")).accept


LATER = {"429 Too Many Requests": "3600", "503 Service Unavailable": "Fri, 31 Dec 2999 23:59:59 GMT"}


@pytest.mark.parametrize("status", LATER)
async def test_a_control_plane_that_asks_to_wait_is_asked_no_sooner_and_after_the_bound_again(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pauses of the backoff are of 0.02 s, and the bound is one of 0.25 s here."""
    monkeypatch.setattr(retry_after, "MAX_WAIT_SECONDS", 0.25)
    times: list[float] = []

    def noting(data: bytes) -> Any:
        async def send(connection: trio.SocketStream) -> None:
            times.append(trio.current_time())
            await connection.send_all(data)

        return send

    busy = answer(b"", status=status, retry_after=LATER[status], connection="close")
    async with scripted(noting(busy), noting(busy), noting(snapshot([SHOP]))) as (_, link, _):
        await link.until(lambda link: link.services)
        assert [later - sooner >= 0.24 for sooner, later in pairwise(times)] == [True, True]
        assert link.errors[0].endswith(f"/v1/snapshot: status {status[:3]}: it asks to wait for 0.25 s")


async def test_a_server_error_that_does_not_say_how_long_is_asked_again_as_any() -> None:
    busy = answer(b"", status="503 Service Unavailable")
    late = answer(b"", status="500 Internal Server Error", retry_after="3600")
    async with scripted(busy, late, snapshot([SHOP])) as (_, link, _):
        await link.until(lambda link: link.services)
        assert [error.rpartition(": ")[2] for error in link.errors] == ["status 503", "status 500"]


async def test_after_a_refused_snapshot_that_took_something_away_the_edge_asks_for_all_services() -> None:
    class Taking(FakeLink):
        async def apply(self, given: Snapshot, /) -> Plan:
            if "faulty" in given.services:
                raise SnapshotError(["no"], Plan(changed={"shop": ("enabled",)}))
            return await super().apply(given)

    shop, link = {"name": "shop", "session_rate": 1}, Taking()
    off = {**shop, "enabled": False}
    plane = Scripted(
        snapshot([shop]), snapshot([off, {"name": "faulty"}], "2", full=False), snapshot([shop], "3"), snapshot([])
    )
    async with plane.serving() as url, trio.open_nursery() as nursery:
        await nursery.start(HttpControl(url).run, link)
        await link.until(lambda link: len(link.snapshots) == 2)
        nursery.cancel_scope.cancel()
    assert [request.headers.get("if-none-match") for request in plane.requests][:3] == [None, '"1"', None]
    assert link.snapshots[1].services == {"shop": Settings(Policy(session_rate=1))}, "its line is read again"
    assert "applied is only what it takes away: changes 1 service" in link.errors[0]


async def asked(plane: Scripted, count: int) -> list[str | None]:
    """Wait for so many requests, and return the state that each names."""
    with trio.fail_after(PATIENCE):
        while len(plane.requests) < count:
            await trio.sleep(0.005)
    return [request.headers.get("if-none-match") for request in plane.requests]


async def test_while_a_snapshot_is_being_applied_the_next_one_is_asked_for_and_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrivals, "AHEAD_SECONDS", 0.01)
    link = SlowLink()
    plane = Scripted(snapshot([SHOP, CAFE]))
    async with plane.serving() as url, trio.open_nursery() as nursery:
        await nursery.start(HttpControl(url).run, link)
        link.slow("2", "3")
        off = {"name": "cafe", "enabled": False}
        plane.answers += [snapshot([{"name": "shop"}], "2", full=False), snapshot([off], "3", full=False)]
        plane.answers += [answer(b"", status="304 Not Modified")]
        await link.until(lambda _: len(link.begun) == 3)
        assert link.services == HAS_SHOP | {"cafe": Settings()}, "the second one is still being applied"
        link.ends["2"].set()
        await link.until(lambda link: len(link.snapshots) == 2)
        link.ends["3"].set()
        await link.until(lambda link: len(link.snapshots) == 3)
        assert (await asked(plane, 5))[1:] == ['"1"', '"2"', '"3"', '"3"']
        assert link.services == {"shop": Settings(), "cafe": Settings(Policy(enabled=False))}
        assert link.errors == []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("behind", "version"), [([], '"1"'), ([snapshot([CAFE], "3", full=False)], None)])
async def test_after_a_snapshot_is_refused_late_the_edge_asks_from_the_state_that_it_has(
    behind: list[bytes], version: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request for news of the refused state is cancelled; what came behind may have taken something away."""
    monkeypatch.setattr(arrivals, "AHEAD_SECONDS", 0.01)
    link = SlowLink()
    plane = Scripted(snapshot([SHOP]))
    async with plane.serving() as url, trio.open_nursery() as nursery:
        await nursery.start(HttpControl(url).run, link)
        link.slow("2", "3")
        link.faults["2"] = SnapshotError(["no"])
        plane.answers += [snapshot([{"name": "shop"}], "2", full=False), *behind]
        count = 3 + len(behind)
        await asked(plane, count)
        plane.answers += [snapshot([SHOP, CAFE], "4")]
        link.ends["2"].set()
        await link.until(lambda link: "cafe" in link.services)
        assert (await asked(plane, count + 1))[count] == version
        assert link.services == HAS_SHOP | {"cafe": Settings()}
        assert [error.partition(": ")[0] for error in link.errors] == ["snapshot refused"]
        nursery.cancel_scope.cancel()
