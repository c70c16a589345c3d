"""Device checks in a whole edge, in memory, under a clock that jumps to the next event: verdicts, outages, graces."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.device_edges import LATE, REFUSED, ends_at, make_control, make_edge, refusal, settled, talks
from trioedge.services.control_plane import MAX_DETAIL_LETTERS
from trioedge.stages.devices.answers import Admission
from trioedge.stages.devices.expiry import PROVISIONAL_SECONDS
from trioedge.stages.devices.grace import REFILL_SECONDS
from trioedge.stages.devices.live_device_limit import SPREAD
from trioedge.testing import open_edge

OPEN, CLOSED, STALE_FOR = te.Unchecked

TOO_MANY_SESSIONS = "too many sessions of a device that is not checked yet"
TOO_MANY_DEVICES = "too many devices of the service are not checked yet"
NO_ANSWER = "the device check had no answer"


# Verdicts.


async def test_sixteen_sessions_at_once_make_one_check_and_the_seventeenth_is_refused_until_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    control.delay = 2.0
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
        clients = [await world.connect() for _ in range(16)]
        assert refusal(await world.connect()) == TOO_MANY_SESSIONS
        await trio.sleep(1.9)
        assert control.checked == [("shop", "192.0.2.1")]
        assert refusal(await world.connect()) == TOO_MANY_SESSIONS
        await trio.sleep(0.2)
        clients += [await world.connect() for _ in range(20)]
        assert all([await talks(client) for client in clients])
        assert control.checked == [("shop", "192.0.2.1")]
        assert all(client.session.device == "192.0.2.1" for client in clients)


async def test_a_verdict_is_used_for_its_seconds_and_refreshed_when_it_expires(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked_at: list[float] = []

    async def check(service: str, device: str) -> te.DeviceVerdict:
        asked_at.append(trio.current_time())
        await trio.sleep(1)
        return te.DeviceVerdict(True, seconds=60)

    async with open_edge(make_edge(te.DeviceLimit(check=check))) as world:
        await world.connect()
        for second in (1.1, 30, 54):
            await trio.sleep_until(second)
            assert (await world.connect()).session.allowance is None
            assert len(asked_at) == 1
        await trio.sleep_until(61.5)
        assert (await world.connect()).session.allowance is None  # stale by now, and used while it is refreshed
        await trio.sleep_until(110)
        assert len(asked_at) == 2
        assert asked_at[0] == 0
        assert 1 + 60 * (1 - SPREAD) <= asked_at[1] <= 1 + 60 + LATE, (
            "fresh for 60 s from the answer at 1, or a bit less"
        )


@pytest.mark.parametrize("seconds", [Decimal(60), Fraction(60), Decimal("59.9999"), 60])
async def test_the_seconds_of_a_verdict_may_be_any_kind_of_number(
    seconds: Any, autojump_clock: trio.testing.MockClock
) -> None:
    asked_at: list[float] = []

    async def check(service: str, device: str) -> te.DeviceVerdict:
        asked_at.append(trio.current_time())
        return te.DeviceVerdict(True, seconds)

    with capture_logs() as logs:
        async with open_edge(make_edge(te.DeviceLimit(check=check))) as world:
            client = await world.connect()
            await trio.sleep_until(53)
            assert len(asked_at) == 1
            await trio.sleep_until(60 + LATE)
            assert len(asked_at) == 2
            assert await talks(client)
    assert [entry for entry in logs if entry["log_level"] in ("warning", "error")] == []


async def test_a_device_offline_is_not_checked_until_it_comes_back(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
        client = await world.connect()
        await trio.sleep(1)
        await client.close()
        await trio.sleep(200)
        assert len(control.checked) == 1
        client = await world.connect()
        assert client.session.allowance is None  # stale for another hundred seconds
        await trio.sleep(1)
        assert len(control.checked) == 2
        assert await talks(client)


async def test_a_denial_cuts_exactly_the_sessions_of_its_service_and_device(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def check(service: str, device: str) -> te.DeviceVerdict:
        return te.DeviceVerdict(device != "192.0.2.1", detail="reported stolen")

    control = make_control(check=check)
    control.delay = 2.0
    with capture_logs() as logs:
        async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
            mine = [await world.connect("192.0.2.1") for _ in range(3)]
            other = await world.connect("192.0.2.2")
            await trio.sleep(1)
            assert await talks(mine[0])
            for client in mine:
                await ends_at(client, 2)
            assert await talks(other)
            assert refusal(await world.connect("192.0.2.1")) == "reported stolen"
            assert world.edge.statistics().ended == {REFUSED: 3}
            assert world.edge.statistics().refused == {REFUSED: 1}
    (said,) = [entry for entry in logs if entry["event"] == "device cut"]
    assert (said["service"], said["device"], said["sessions"]) == ("shop", "192.0.2.1", 3)
    assert said["cause"] == Admission.DENIED.value


async def test_a_long_detail_is_remembered_up_to_its_bound(autojump_clock: trio.testing.MockClock) -> None:
    """A control plane may answer with 64 KiB, and 65,536 devices may be denied."""
    control = make_control(check=lambda service, device: te.DeviceVerdict(False, detail="stolen " + "x" * 60_000))
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
        await (await world.connect()).ended()
        assert refusal(await world.connect()) == "stolen " + "x" * (MAX_DETAIL_LETTERS - 7)


async def test_a_denial_in_one_service_does_not_touch_the_device_in_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def other_service(session: te.Session) -> str:
        return "bank" if session.id % 2 else "shop"

    control = make_control(check=lambda service, device: service == "shop")
    stages = [te.Identify(other_service), te.DeviceLimit()]
    both = te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)
    async with open_edge(both) as world:
        bank, in_shop = await world.connect(), await world.connect()
        assert (bank.session.service.name, in_shop.session.service.name) == ("bank", "shop")
        assert (await bank.ended()).reason is REFUSED
        assert await talks(in_shop)
        assert sorted(control.checked) == [("bank", "192.0.2.1"), ("shop", "192.0.2.1")]


async def test_an_operator_evicts_a_device_by_the_name_that_the_limit_gives_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(make_edge(te.DeviceLimit(), make_control())) as world:
        clients = [await world.connect(source) for source in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")]
        assert world.edge.evict(service="shop", device="2001:db8::/64") == 2
        await settled()
        assert [client.outcome for client in clients] == [te.Completed(te.Reason.EVICTED)] * 2 + [None]


# No answer.


@pytest.mark.parametrize(
    ("unchecked", "outcome"),
    [(OPEN, None), (CLOSED, te.Completed(REFUSED)), (STALE_FOR, te.Completed(REFUSED))],
)
@pytest.mark.parametrize("checker", ["slow", "down"])
async def test_the_grace_of_an_unknown_device_ends_without_an_answer(
    unchecked: te.Unchecked, outcome: te.Outcome | None, checker: str, autojump_clock: trio.testing.MockClock
) -> None:
    control = make_control(device_unchecked=unchecked)
    control.delay, control.down = (1000.0, False) if checker == "slow" else (0.0, True)
    async with open_edge(make_edge(te.DeviceLimit(grace=te.Grace(seconds=5)), control)) as world:
        client = await world.connect()
        await trio.sleep_until(4.9)
        assert await talks(client)
        await trio.sleep_until(5 + LATE)
        assert client.outcome == outcome
        if outcome is not None:
            assert refusal(await world.connect()) == NO_ANSWER
        assert len(control.checked) > 1, "a device that waits is checked again"


async def test_the_policy_of_each_service_decides_without_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    policies = {"shop": te.Policy(device_unchecked=OPEN), "bank": te.Policy(device_unchecked=CLOSED)}
    control = te.MemoryControl(policies)
    control.down = True
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
        shop_client, bank_client = await world.connect("192.0.2.1"), await world.connect("198.51.100.1")
        await ends_at(bank_client, 5)
        await trio.sleep(60)
        assert await talks(shop_client)


@pytest.mark.parametrize(
    ("unchecked", "ends", "deadlines"),
    [(OPEN, None, 0), (CLOSED, 60 + 5, 2), (STALE_FOR, 60 + 20, 1)],
)
async def test_the_verdict_of_a_device_online_cannot_be_refreshed(
    unchecked: te.Unchecked, ends: float | None, deadlines: int, autojump_clock: trio.testing.MockClock
) -> None:
    """It ends a grace after the refresh began, which was a deadline as well; or so long after the verdict expired."""
    control = make_control(device_unchecked=unchecked, device_stale_seconds=20.0)
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
        client = await world.connect()
        await trio.sleep(1)
        control.down = True
        if ends is None:
            await trio.sleep_until(500)
            assert await talks(client)
        else:
            outcome = await client.ended()
            assert outcome.reason is REFUSED
            assert ends - 60 * SPREAD <= trio.current_time() <= ends + deadlines * LATE


async def test_an_answer_after_the_end_of_the_grace_is_applied(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control(device_unchecked=CLOSED)
    control.delay = 7.0
    async with open_edge(make_edge(te.DeviceLimit(check_seconds=10), control)) as world:
        client = await world.connect()
        await ends_at(client, 5)
        await trio.sleep_until(6.9)
        assert refusal(await world.connect()) == NO_ANSWER
        await trio.sleep_until(7.1)
        assert await talks(await world.connect())
        assert len(control.checked) == 1


async def test_a_device_that_was_denied_without_an_answer_may_try_again_after_ten_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control(device_unchecked=CLOSED)
    control.down = True
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
        await (await world.connect()).ended()
        await trio.sleep_until(5 + PROVISIONAL_SECONDS - 0.5)
        assert isinstance((await world.connect()).outcome, te.Reject)
        control.down = False
        await trio.sleep_until(5 + PROVISIONAL_SECONDS + LATE)
        assert await talks(await world.connect())


# Graces.


async def test_a_session_that_used_up_its_grace_pauses_until_the_answer_and_loses_no_byte(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    control.delay = 2.0
    async with open_edge(make_edge(te.DeviceLimit(grace=te.Grace(bytes=10)), control)) as world:
        client, second = await world.connect(), await world.connect()
        await client.send(b"0123456789abcdef")
        await second.send(b"me too")
        await trio.sleep_until(1.9)
        sessions = client.session, second.session
        assert sum(session.bytes_up + session.bytes_down for session in sessions) == 10
        assert [session.outcome for session in sessions] == [None, None]
        assert await client.receive(16) == b"0123456789abcdef"
        assert await second.receive(6) == b"me too"
        assert trio.current_time() == 2, "an answer is applied at once"


@pytest.mark.parametrize("size", [1, 200_000])
async def test_with_a_grace_of_no_bytes_a_device_is_connected_and_waits(
    size: int, autojump_clock: trio.testing.MockClock
) -> None:
    control = make_control()
    control.delay = 2.0
    async with open_edge(make_edge(te.DeviceLimit(grace=te.Grace(bytes=0)), control)) as world:
        client = await world.connect()
        await client.send(bytes(size))
        await trio.sleep_until(1.9)
        assert (client.session.phase, client.session.bytes_up) == ("relaying", 0)
        assert await client.receive(size) == bytes(size)


@pytest.mark.parametrize(("unchecked", "goes_on"), [(OPEN, True), (CLOSED, False)])
async def test_a_paused_session_waits_until_the_end_of_its_grace(
    unchecked: te.Unchecked, goes_on: bool, autojump_clock: trio.testing.MockClock
) -> None:
    control = make_control(device_unchecked=unchecked)
    control.down = True
    async with open_edge(make_edge(te.DeviceLimit(grace=te.Grace(seconds=5, bytes=4)), control)) as world:
        client = await world.connect()
        await client.send(b"0123456789")
        if goes_on:
            assert await client.receive(10) == b"0123456789"
        else:
            assert await client.ended() == te.Completed(REFUSED)
            assert client.session.bytes_up + client.session.bytes_down == 4
        assert 5 <= trio.current_time() <= 5 + LATE


async def test_a_pause_does_not_count_as_idle(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    control.delay = 4.0
    limit = te.DeviceLimit(check_seconds=10, grace=te.Grace(bytes=4))
    async with open_edge(make_edge(limit, control, before=(te.IdleTimeout(2),))) as world:
        client = await world.connect()
        await client.send(b"0123456789")
        assert await client.receive(10) == b"0123456789"
        await ends_at(client, 6, te.Reason.IDLE)


async def test_sources_that_rotate_are_bounded_in_number_and_in_bytes(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control(device_unchecked=CLOSED)
    control.down = True
    moved = 0
    async with open_edge(make_edge(te.DeviceLimit(grace=te.Grace(bytes=100, devices=3)), control)) as world:
        clients = [await world.connect(f"192.0.2.{number}") for number in range(1, 5)]
        assert refusal(clients[3]) == TOO_MANY_DEVICES
        assert (await world.connect("198.51.100.1")).outcome is None  # another service has another pool
        for hundred in range(12):
            clients = [await world.connect(f"203.0.113.{hundred * 10 + number}") for number in range(10)]
            for client in clients:
                if client.outcome is None:
                    await client.send(bytes(1000))
            await trio.sleep(5 + LATE)
            moved += sum(client.session.bytes_up + client.session.bytes_down for client in clients)
        seconds = trio.current_time()
    assert 300 <= moved <= 300 * (1 + seconds / REFILL_SECONDS)


async def test_a_grace_begins_when_the_device_limit_decides_and_not_at_accept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @te.middleware
    async def wait_first(session: te.Session, call_next: te.Handler) -> te.Outcome:
        await trio.sleep(30)
        return await call_next(session)

    control = make_control()
    control.delay = 2.0
    async with open_edge(make_edge(te.DeviceLimit(), control, before=(wait_first,))) as world:
        client = await world.connect()
        await trio.sleep_until(31)
        assert await talks(client)
        await trio.sleep_until(33)
        assert await talks(client)
        assert len(control.checked) == 1
