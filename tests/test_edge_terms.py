"""Whole edges whose services have quotas and expiries, wherever their sessions are when these end."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.support.edges import dies_slowly, exchange, make_edge, quick_hash, services
from trioedge.services.credentials import Credentials
from trioedge.testing import Client, open_edge

USED_UP = "the service's quota is used up"
MINUTES = 300


async def test_a_quota_counts_both_directions_of_all_sessions_and_ends_them_together(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(quota_bytes=100, quota_used=4), b=te.Policy())
    async with open_edge(make_edge(control)) as world:
        one, other, foreign = [await world.connect(source) for source in ("192.0.2.1", "2001:db8::1", "192.0.2.2")]
        await exchange(one, b"x" * 40)
        assert world.edge.services["a"].quota_used == 84
        await exchange(foreign, b"x" * 200)
        await other.send(b"x" * 15)
        for client in (one, other):
            assert await client.ended() == te.Completed(te.Reason.QUOTA, USED_UP)
        refused = await world.connect("192.0.2.1")
        assert refused.outcome == te.Reject(te.Reason.QUOTA, USED_UP)
        await exchange(foreign)
        assert world.edge.statistics().refused == {te.Reason.QUOTA: 1}
        assert world.edge.statistics().ended == {te.Reason.QUOTA: 2}


@pytest.mark.parametrize("said", [lambda at: at, lambda at: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))])
async def test_a_service_expires_at_its_second_under_the_clock_of_a_rehearsal(
    said: Callable[[float], Any], autojump_clock: MockClock
) -> None:
    at = int(time.time()) + MINUTES
    control = services(a=te.Policy(expires_at=said(at)))
    async with open_edge(make_edge(control)) as world:
        client = await world.connect("192.0.2.1")
        await exchange(client)
        await trio.sleep(MINUTES - 5)
        await exchange(client)
        await trio.sleep(8)
        assert client.outcome == te.Completed(te.Reason.EXPIRED, "the service has expired")
        refused = await world.connect("192.0.2.1")
        assert refused.outcome == te.Reject(te.Reason.EXPIRED, "the service has expired")
        await control.put("a", te.Policy(expires_at=at + MINUTES))
        await exchange(await world.connect("192.0.2.1"))


@te.handshake(provides=("service",), seconds=60)
def name_and_wait(session: te.Session) -> te.Steps:
    session.service = "a"
    yield te.Read(1_000)
    return te.CONTINUE


@te.middleware(provides=("service",))
async def name_and_sleep(session: te.Session, call_next: te.Handler) -> te.Outcome:
    session.service = "a"
    await trio.sleep(MINUTES)
    return await call_next(session)


@pytest.mark.parametrize("stage", [name_and_wait, name_and_sleep])
@pytest.mark.parametrize("ends", ["quota", "expired", "a lower quota", "an earlier expiry"])
async def test_sessions_between_their_name_and_their_endpoint_end_too(
    stage: object, ends: str, autojump_clock: MockClock
) -> None:
    control = te.MemoryControl({"a": te.Policy(quota_bytes=100, expires_at=time.time() + 10)})
    edge = te.Edge("tcp://127.0.0.1:6380", [stage], te.Forward("tcp://192.0.2.9:6379"), control=control)
    async with open_edge(edge) as world:
        waiting = await world.connect("192.0.2.9")
        await trio.sleep(1)
        assert waiting.session.service.name == "a"
        if ends == "quota":
            world.edge.services["a"].down.add(100)
        elif ends == "expired":
            await trio.sleep(10)
        elif ends == "a lower quota":
            world.edge.services["a"].down.add(50)
            assert (await control.put("a", te.Policy(quota_bytes=50))).evicted == 1
        else:
            assert (await control.put("a", te.Policy(expires_at=time.time() - 5))).evicted == 1
        reason = te.Reason.QUOTA if "quota" in ends else te.Reason.EXPIRED
        assert (await waiting.ended()).reason is reason


async def test_a_session_that_dies_slowly_keeps_its_reason(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(quota_bytes=8))
    async with open_edge(make_edge(control, dies_slowly)) as world:
        client = await world.connect("192.0.2.1")
        await exchange(client)
        assert (await client.ended()).reason is te.Reason.QUOTA


@te.decision
def last(session: te.Session) -> te.Verdict:
    """Use the quota up behind the stage that named the service and before one that reads it."""
    session.service.down.add(50)
    return te.CONTINUE


async def test_a_device_limit_refuses_for_a_quota_that_was_used_up_since_the_service_was_named(
    autojump_clock: MockClock,
) -> None:
    control = services(a=te.Policy(quota_bytes=50, device_limit=1))
    async with open_edge(make_edge(control, last, te.DeviceLimit())) as world:
        client = await world.connect("192.0.2.1")
        assert client.outcome == te.Reject(te.Reason.QUOTA, USED_UP)


async def talk_socks(client: Client, password: bytes) -> bytes:
    await client.send(b"\5\1\2\1\1a" + bytes([len(password)]) + password + b"\5\1\0\1\xc0\0\2\x09\0\x50")
    heard = await client.receive_all()
    await client.close()
    return heard


async def test_a_client_of_a_service_that_is_over_hears_so_once_its_password_is_right() -> None:
    settings = te.Settings(te.Policy(quota_bytes=1, quota_used=1), Credentials(quick_hash("secret")))
    edge = te.Edge(
        "tcp://127.0.0.1:1080", [te.Socks("services")], te.Forward(), control=te.MemoryControl({"a": settings})
    )
    async with open_edge(edge) as world:
        right = await world.connect()
        assert await talk_socks(right, b"secret") == b"\5\2\1\0\5\2\0\1\0\0\0\0\0\0"
        assert await right.ended() == te.Reject(te.Reason.QUOTA, USED_UP)
        wrong = await world.connect("192.0.2.2")
        assert await talk_socks(wrong, b"guess") == b"\5\2\1\1"
        assert (await wrong.ended()).reason is te.Reason.CREDENTIALS


async def bill(control: te.MemoryControl, quota: int, base: int = 0) -> int:
    """Do as a control plane does: say what was used, of what was reported since the period began."""
    totals = control.totals("a")
    used = totals.bytes_up + totals.bytes_down - base
    await control.put("a", te.Policy(quota_bytes=quota, quota_used=used))
    return used


async def test_a_control_plane_that_bills_reports_never_counts_a_byte_twice_nor_forgets_one(
    autojump_clock: MockClock,
) -> None:
    control = services(a=te.Policy(quota_bytes=1_000))
    async with open_edge(make_edge(control, report_seconds=10.0)) as world:
        client, service = await world.connect("192.0.2.1"), world.edge.services["a"]
        for number in range(1, 10):
            await exchange(client, b"x" * 50)
            assert service.quota_used == 100 * number
            await trio.sleep(7)  # so that some bytes are reported at some times, and others not yet
            await bill(control, 1_000)
            assert service.quota_used == 100 * number
        await client.send(b"x" * 100)
        assert (await client.ended()).reason is te.Reason.QUOTA
        await trio.sleep(20)
        assert await bill(control, 1_000) >= 1_000
        assert (await world.connect("192.0.2.1")).outcome == te.Reject(te.Reason.QUOTA, USED_UP)
        await bill(control, 1_000, base=service.quota_used)
        assert service.quota_used == 0
        await exchange(await world.connect("192.0.2.1"))


async def test_after_a_restart_the_edge_counts_on_from_what_its_control_plane_knows(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(quota_bytes=1_000))
    edge = make_edge(control)
    async with open_edge(edge) as world:
        await exchange(await world.connect("192.0.2.1"), b"x" * 200)
        await trio.sleep(20)
    assert await bill(control, 1_000) == 400
    async with open_edge(edge) as world:
        assert world.edge.services["a"].quota_used == 400
        client = await world.connect("192.0.2.1")
        await exchange(client, b"x" * 299)
        assert client.outcome is None
        await client.send(b"x" * 2)
        assert (await client.ended()).reason is te.Reason.QUOTA


async def test_a_quota_that_the_endpoint_cannot_keep_is_warned_of(autojump_clock: MockClock) -> None:
    class Own:
        async def handle(self, session: te.Session) -> te.Outcome:
            return te.Completed()

    control = services(a=te.Policy(quota_bytes=1_000, quota_used=5, expires_at=4e9))
    with capture_logs() as logs:
        async with open_edge(make_edge(control, te.SessionGate(), endpoint=Own())):
            pass
    (warning,) = [each for each in logs if each["event"].startswith("policy not enforced")]
    assert warning["keys"] == ["quota_bytes", "quota_used"]


async def test_an_edge_without_a_control_plane_has_no_quota(autojump_clock: MockClock) -> None:
    edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward("tcp://192.0.2.9:6379"))
    async with open_edge(edge) as world:
        await exchange(await world.connect(), b"x" * 1_000)
        service = world.edge.services["default"]
        assert (service.quota, service.quota_used, service.over) == (None, 0, None)
        assert not service.up.quiet
