"""Every rule on devices, rehearsed: a whole edge in memory, and a clock that jumps to what happens next."""

import time
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from math import inf
from typing import Any, cast

import attrs
import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.strategies import make_session
from tests.support.governed import Governed
from trioedge.services.snapshot import Change
from trioedge.stages.devices.answers import Admission
from trioedge.stages.devices.device_limit import MAX_DETAIL_LETTERS, SPREAD
from trioedge.stages.devices.grace import REFILL_SECONDS
from trioedge.stages.devices.table import PROVISIONAL_SECONDS, DeviceTable
from trioedge.testing import Client, Rehearsal, open_edge

LATE = 0.25
"""How late a deadline may be noticed: a tick of the table and one of the reactor, and what the machine takes."""

REFUSED, OPEN, CLOSED = te.Reason.DEVICE, te.Unchecked.FAIL_OPEN, te.Unchecked.FAIL_CLOSED
STALE_FOR = te.Unchecked.STALE_FOR
REJECT_NEW, EVICT_OLDEST, HOLD = te.Handover


def by_network(session: te.Session) -> str:
    return "bank" if session.source.startswith("198.51.100.") else "shop"


def edge(limit: te.DeviceLimit, control: te.MemoryControl | None = None, *, before: tuple[object, ...] = ()) -> te.Edge:
    """Sources of 198.51.100.0/24 are the bank's, all others the shop's."""
    stages = [te.Identify(by_network), *before, limit]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)


def shop(*, check: Any = None, **policy: Any) -> te.MemoryControl:
    """A shop and a bank of the same policy."""
    return te.MemoryControl({"shop": te.Policy(**policy), "bank": te.Policy(**policy)}, check=check)


async def settled() -> None:
    """Let those who must go be cut, in slices, and end."""
    await trio.sleep(0.05)


async def talks(client: Client) -> bool:
    """Whether bytes still go there and back."""
    await client.send(b"ping")
    with trio.move_on_after(1):
        return await client.receive(4) == b"ping"
    return False


async def ends_at(client: Client, at: float, reason: te.Reason = REFUSED) -> None:
    """Wait for its end, which is not early and hardly late."""
    outcome = await client.ended()
    assert outcome.reason is reason
    assert at <= trio.current_time() <= at + LATE


def refusal(client: Client) -> str:
    """Why it was not even let in."""
    assert isinstance(client.outcome, te.Reject)
    assert client.outcome.reason is REFUSED
    return client.outcome.detail


# What is known, what is asked.


async def test_sixteen_sessions_at_once_make_one_check_and_the_seventeenth_waits_for_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = shop()
    control.delay = 2.0
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        clients = [await world.connect() for _ in range(16)]
        assert refusal(await world.connect()) == "too many sessions of a device that is not checked yet"
        await trio.sleep(1.9)
        assert control.checked == [("shop", "192.0.2.1")]
        assert refusal(await world.connect()) == "too many sessions of a device that is not checked yet"
        await trio.sleep(0.2)
        clients += [await world.connect() for _ in range(20)]
        assert all([await talks(client) for client in clients])
        assert control.checked == [("shop", "192.0.2.1")]
        assert all(client.session.device == "192.0.2.1" for client in clients)


async def test_a_verdict_is_used_for_its_lifetime_and_refreshed_when_it_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked_at: list[float] = []

    async def check(service: str, device: str) -> te.DeviceVerdict:
        asked_at.append(trio.current_time())
        await trio.sleep(1)
        return te.DeviceVerdict(True, seconds=60)

    async with open_edge(edge(te.DeviceLimit(check=check))) as world:
        await world.connect()
        for second in (1.1, 30, 54):
            await trio.sleep_until(second)
            assert (await world.connect()).session.allowance is None
            assert len(asked_at) == 1
        await trio.sleep_until(61.5)
        assert (await world.connect()).session.allowance is None  # stale by now, and used while it is refreshed
        await trio.sleep_until(110)
        assert len(asked_at) == 2
        assert asked_at[0] == pytest.approx(0, abs=LATE)
        assert 1 + 60 * (1 - SPREAD) <= asked_at[1] <= 1 + 60 + LATE, "the answer came at 1 and held for 60 s, or less"


@pytest.mark.parametrize("seconds", [Decimal(60), Fraction(60), Decimal("59.9999"), 60])
async def test_a_verdict_may_say_its_lifetime_as_any_number(
    seconds: Any, autojump_clock: trio.testing.MockClock
) -> None:
    asked_at: list[float] = []

    async def check(service: str, device: str) -> te.DeviceVerdict:
        asked_at.append(trio.current_time())
        return te.DeviceVerdict(True, seconds)

    with capture_logs() as logs:
        async with open_edge(edge(te.DeviceLimit(check=check))) as world:
            client = await world.connect()
            await trio.sleep_until(53)
            assert len(asked_at) == 1
            await trio.sleep_until(60 + LATE)
            assert len(asked_at) == 2
            assert await talks(client)
    assert [entry for entry in logs if entry["log_level"] in ("warning", "error")] == []


async def test_nobody_is_asked_about_a_device_that_has_gone_until_it_comes_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = shop()
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
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


async def test_a_denial_cuts_exactly_the_sessions_of_that_service_and_device(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def check(service: str, device: str) -> te.DeviceVerdict:
        return te.DeviceVerdict(device != "192.0.2.1", detail="reported stolen")

    control = shop(check=check)
    control.delay = 2.0
    with capture_logs() as logs:
        async with open_edge(edge(te.DeviceLimit(), control)) as world:
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


async def test_of_a_long_detail_the_beginning_is_remembered(autojump_clock: trio.testing.MockClock) -> None:
    """A control plane may answer with 64 KiB, and 65,536 devices may be denied."""
    control = shop(check=lambda service, device: te.DeviceVerdict(False, detail="stolen " + "x" * 60_000))
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        await (await world.connect()).ended()
        assert refusal(await world.connect()) == "stolen " + "x" * (MAX_DETAIL_LETTERS - 7)


async def test_a_denial_in_one_service_leaves_the_device_in_the_other(autojump_clock: trio.testing.MockClock) -> None:
    def other_service(session: te.Session) -> str:
        return "bank" if session.id % 2 else "shop"

    control = shop(check=lambda service, device: service == "shop")
    stages = [te.Identify(other_service), te.DeviceLimit()]
    both = te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)
    async with open_edge(both) as world:
        bank, in_shop = await world.connect(), await world.connect()
        assert (bank.session.service, in_shop.session.service) == ("bank", "shop")
        assert (await bank.ended()).reason is REFUSED
        assert await talks(in_shop)
        assert sorted(control.checked) == [("bank", "192.0.2.1"), ("shop", "192.0.2.1")]


async def test_an_operator_evicts_a_device_by_the_name_the_limit_gave_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(edge(te.DeviceLimit(key="network"), shop())) as world:
        clients = [await world.connect(source) for source in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")]
        assert world.edge.evict(service="shop", device="2001:db8::/64") == 2
        await settled()
        assert [client.outcome for client in clients] == [te.Completed(te.Reason.EVICTED)] * 2 + [None]


# Nobody answers.


@pytest.mark.parametrize(
    ("unchecked", "outcome"),
    [(OPEN, None), (CLOSED, te.Completed(REFUSED)), (STALE_FOR, te.Completed(REFUSED))],
)
@pytest.mark.parametrize("checker", ["slow", "down"])
async def test_a_device_that_is_unknown_when_its_grace_ends(
    unchecked: te.Unchecked, outcome: te.Outcome | None, checker: str, autojump_clock: trio.testing.MockClock
) -> None:
    control = shop(device_unchecked=unchecked)
    control.delay, control.down = (1000.0, False) if checker == "slow" else (0.0, True)
    async with open_edge(edge(te.DeviceLimit(grace=te.Grace(seconds=5)), control)) as world:
        client = await world.connect()
        await trio.sleep_until(4.9)
        assert await talks(client)
        await trio.sleep_until(5 + LATE)
        assert client.outcome == outcome
        if outcome is not None:
            assert refusal(await world.connect()) == "nobody answered the device check"
        assert len(control.checked) > 1, "who waits is asked about again"


async def test_each_service_says_for_itself_what_holds_when_nobody_answers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    policies = {"shop": te.Policy(device_unchecked=OPEN), "bank": te.Policy(device_unchecked=CLOSED)}
    control = te.MemoryControl(policies)
    control.down = True
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        shop_client, bank_client = await world.connect("192.0.2.1"), await world.connect("198.51.100.1")
        await ends_at(bank_client, 5)
        await trio.sleep(60)
        assert await talks(shop_client)


@pytest.mark.parametrize(
    ("unchecked", "ends"),
    [(OPEN, None), (CLOSED, 60 + 5), (STALE_FOR, 60 + 20)],
)
async def test_a_device_online_whose_verdict_cannot_be_refreshed(
    unchecked: te.Unchecked, ends: float | None, autojump_clock: trio.testing.MockClock
) -> None:
    control = shop(device_unchecked=unchecked, device_stale_seconds=20.0)
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        client = await world.connect()
        await trio.sleep(1)
        control.down = True
        if ends is None:
            await trio.sleep_until(500)
            assert await talks(client)
        else:
            outcome = await client.ended()
            assert outcome.reason is REFUSED
            assert ends - 60 * SPREAD <= trio.current_time() <= ends + LATE


async def test_an_answer_that_comes_after_all_is_written_back(autojump_clock: trio.testing.MockClock) -> None:
    control = shop(device_unchecked=CLOSED)
    control.delay = 7.0
    async with open_edge(edge(te.DeviceLimit(check_seconds=10), control)) as world:
        client = await world.connect()
        await ends_at(client, 5)
        await trio.sleep_until(6.9)
        assert refusal(await world.connect()) == "nobody answered the device check"
        await trio.sleep_until(7.1)
        assert await talks(await world.connect())
        assert len(control.checked) == 1


async def test_who_was_denied_for_want_of_an_answer_may_try_again_soon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = shop(device_unchecked=CLOSED)
    control.down = True
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        await (await world.connect()).ended()
        await trio.sleep_until(5 + PROVISIONAL_SECONDS - 0.5)
        assert isinstance((await world.connect()).outcome, te.Reject)
        control.down = False
        await trio.sleep_until(5 + PROVISIONAL_SECONDS + LATE)
        assert await talks(await world.connect())


# Grace.


async def test_a_session_that_used_up_its_grace_pauses_until_the_answer_and_loses_no_byte(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = shop()
    control.delay = 2.0
    async with open_edge(edge(te.DeviceLimit(grace=te.Grace(bytes=10)), control)) as world:
        client, brother = await world.connect(), await world.connect()
        await client.send(b"0123456789abcdef")
        await brother.send(b"me too")
        await trio.sleep_until(1.9)
        sessions = client.session, brother.session
        assert sum(session.bytes_up + session.bytes_down for session in sessions) == 10
        assert [session.outcome for session in sessions] == [None, None]
        assert await client.receive(16) == b"0123456789abcdef"
        assert await brother.receive(6) == b"me too"
        assert trio.current_time() == pytest.approx(2, abs=LATE)


@pytest.mark.parametrize("size", [1, 200_000])
async def test_without_any_bytes_a_device_waits_connected(size: int, autojump_clock: trio.testing.MockClock) -> None:
    control = shop()
    control.delay = 2.0
    async with open_edge(edge(te.DeviceLimit(grace=te.Grace(bytes=0)), control)) as world:
        client = await world.connect()
        await client.send(bytes(size))
        await trio.sleep_until(1.9)
        assert (client.session.phase, client.session.bytes_up) == ("relaying", 0)
        assert await client.receive(size) == bytes(size)


@pytest.mark.parametrize(("unchecked", "goes_on"), [(OPEN, True), (CLOSED, False)])
async def test_a_paused_session_waits_for_the_deadline_and_no_longer(
    unchecked: te.Unchecked, goes_on: bool, autojump_clock: trio.testing.MockClock
) -> None:
    control = shop(device_unchecked=unchecked)
    control.down = True
    async with open_edge(edge(te.DeviceLimit(grace=te.Grace(seconds=5, bytes=4)), control)) as world:
        client = await world.connect()
        await client.send(b"0123456789")
        if goes_on:
            assert await client.receive(10) == b"0123456789"
        else:
            assert await client.ended() == te.Completed(REFUSED)
            assert client.session.bytes_up + client.session.bytes_down == 4
        assert trio.current_time() == pytest.approx(5, abs=LATE)


async def test_a_pause_is_no_silence(autojump_clock: trio.testing.MockClock) -> None:
    control = shop()
    control.delay = 4.0
    limit = te.DeviceLimit(check_seconds=10, grace=te.Grace(bytes=4))
    async with open_edge(edge(limit, control, before=(te.IdleTimeout(2),))) as world:
        client = await world.connect()
        await client.send(b"0123456789")
        assert await client.receive(10) == b"0123456789"
        await ends_at(client, 6, te.Reason.IDLE)


async def test_sources_that_rotate_are_bounded_in_number_and_in_bytes(autojump_clock: trio.testing.MockClock) -> None:
    control = shop(device_unchecked=CLOSED)
    control.down = True
    moved = 0
    async with open_edge(edge(te.DeviceLimit(grace=te.Grace(bytes=100, devices=3)), control)) as world:
        clients = [await world.connect(f"192.0.2.{number}") for number in range(1, 5)]
        assert refusal(clients[3]) == "too many devices of the service are not checked yet"
        assert (await world.connect("198.51.100.1")).outcome is None  # another service is another pool
        for hundred in range(12):
            clients = [await world.connect(f"203.0.113.{hundred * 10 + number}") for number in range(10)]
            for client in clients:
                if client.outcome is None:
                    await client.send(bytes(1000))
            await trio.sleep(5 + LATE)
            moved += sum(client.session.bytes_up + client.session.bytes_down for client in clients)
        seconds = trio.current_time()
    assert 300 <= moved <= 300 * (1 + seconds / REFILL_SECONDS)


async def test_a_grace_begins_when_the_device_is_asked_about_and_not_when_it_connected(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @te.middleware
    async def slow_handshake(session: te.Session, call_next: te.Handler) -> te.Outcome:
        await trio.sleep(30)
        return await call_next(session)

    control = shop()
    control.delay = 2.0
    async with open_edge(edge(te.DeviceLimit(), control, before=(slow_handshake,))) as world:
        client = await world.connect()
        await trio.sleep_until(31)
        assert await talks(client)
        await trio.sleep_until(33)
        assert await talks(client)
        assert len(control.checked) == 1


# One device too many.


async def three_devices(world: Rehearsal) -> list[Client]:
    """Two of the first, then one of the second and the third, a second apart."""
    clients = [await world.connect("192.0.2.1")]
    for source in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        await trio.sleep(1)
        clients.append(await world.connect(source))
    await settled()
    return clients


async def test_one_device_too_many_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge(te.DeviceLimit(2))) as world:
        clients = await three_devices(world)
        assert refusal(clients[3]) == "as many devices as its service may have are online"
        assert (await world.connect("198.51.100.1")).outcome is None  # of another service
        for client in clients[:2]:
            await client.close()
            await client.ended()
        assert await talks(await world.connect("192.0.2.3"))


async def test_one_device_too_many_takes_the_place_of_the_oldest(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge(te.DeviceLimit(2, handover="evict_oldest"))) as world:
        clients = await three_devices(world)
        assert [client.outcome for client in clients] == [te.Completed(REFUSED)] * 2 + [None, None]
        assert await talks(clients[2])
        assert await talks(clients[3])
        assert trio.current_time() == pytest.approx(3, abs=LATE)


async def test_one_device_too_many_takes_the_place_of_the_oldest_after_the_hold(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(edge(te.DeviceLimit(2, handover="hold", hold_seconds=10))) as world:
        clients = await three_devices(world)
        assert all([await talks(client) for client in clients])
        for client in clients[:2]:
            await ends_at(client, 13)
        assert await talks(clients[2])
        assert await talks(clients[3])


async def test_a_hold_that_is_over_by_itself_cuts_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge(te.DeviceLimit(2, handover="hold", hold_seconds=10))) as world:
        clients = await three_devices(world)
        await clients[2].close()
        await trio.sleep(20)
        assert [client.outcome for client in clients] == [None, None, te.Completed(), None]


async def test_a_device_that_is_unknown_yet_counts_and_makes_room(autojump_clock: trio.testing.MockClock) -> None:
    control = shop(device_limit=2, device_handover=EVICT_OLDEST)
    control.delay = 3.0
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        clients = await three_devices(world)
        assert [client.outcome for client in clients] == [te.Completed(REFUSED)] * 2 + [None, None]


async def test_the_table_is_full(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge(te.DeviceLimit(capacity=2), shop())) as world:
        for number in (1, 2, 3):
            client = await world.connect(f"192.0.2.{number}")
        assert client.outcome == te.Reject(te.Reason.CAPACITY, "the device table is full")


# The policy, and how it changes.


@pytest.mark.parametrize(
    ("policy", "let_in"),
    [
        (te.Policy(), 3),
        (te.Policy(device_limit=1), 1),
        (te.Policy(device_limit=5), 5),
        (te.Policy(device_stale_seconds=1.0), 3),
        (te.Policy(device_unchecked=OPEN), 3),
    ],
    ids=["silent", "fewer", "more", "of another rule", "of yet another"],
)
async def test_where_the_policy_says_no_number_the_argument_holds(
    policy: te.Policy, let_in: int, autojump_clock: trio.testing.MockClock
) -> None:
    control = te.MemoryControl({"shop": policy})
    async with open_edge(edge(te.DeviceLimit(3), control)) as world:
        clients = [await world.connect(f"192.0.2.{number}") for number in range(1, 8)]
        assert sum(client.outcome is None for client in clients) == let_in


@pytest.mark.parametrize(("handover", "stay"), [(REJECT_NEW, {1, 2}), (EVICT_OLDEST, {3, 4})])
async def test_a_lower_limit_holds_for_those_online_at_once(
    handover: te.Handover, stay: set[int], autojump_clock: trio.testing.MockClock
) -> None:
    control = shop(device_handover=handover)
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        clients = {number: await world.connect(f"192.0.2.{number}") for number in range(1, 5)}
        await trio.sleep(10)
        policy = te.Policy(device_handover=handover, device_limit=2)
        foreseen = await world.edge.plan(te.Snapshot({"shop": te.Settings(policy)}, full=False))
        plan = await control.put("shop", policy)
        await settled()
        assert {number for number, client in clients.items() if client.outcome is None} == stay
        assert foreseen == plan
        assert (plan.evicted, plan.rechecked) == (2, 2)
        await trio.sleep(1)
        assert sorted(control.checked[4:]) == [("shop", f"192.0.2.{number}") for number in sorted(stay)]
        assert all([await talks(clients[number]) for number in stay])


async def test_a_lower_limit_with_a_hold_lets_the_oldest_be_for_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = shop()
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        clients = [await world.connect(f"192.0.2.{number}") for number in range(1, 4)]
        await trio.sleep(10)
        await control.put("shop", te.Policy(device_limit=2, device_handover=HOLD, device_hold_seconds=7))
        await ends_at(clients[0], 17)
        assert await talks(clients[1])
        assert await talks(clients[2])


async def test_a_recheck_that_denies_cuts_its_device(autojump_clock: trio.testing.MockClock) -> None:
    denied: set[str] = set()
    control = shop(check=lambda service, device: device not in denied)
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        clients = [await world.connect(f"192.0.2.{number}") for number in (1, 2)]
        await trio.sleep(10)
        denied.add("192.0.2.2")
        await control.put("shop", te.Policy(device_limit=5))
        await ends_at(clients[1], 10)
        assert await talks(clients[0])


@pytest.mark.parametrize(
    "policy",
    [
        te.Policy(device_hold_seconds=1.0),
        te.Policy(device_stale_seconds=1.0),
        te.Policy(device_unchecked=OPEN),
        te.Policy(max_sessions=100),
    ],
    ids=lambda policy: next(name for name in ("device_hold_seconds", "device_stale_seconds", "device_unchecked",
                            "max_sessions") if getattr(policy, name) != getattr(te.Policy(), name)),
)  # fmt: skip
async def test_a_change_that_is_to_be_kept_quiet_asks_nobody(
    policy: te.Policy, autojump_clock: trio.testing.MockClock
) -> None:
    control = shop()
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        client = await world.connect()
        await trio.sleep(10)
        plan = await control.put("shop", policy)
        await trio.sleep(10)
        assert plan.rechecked == 0
        assert len(control.checked) == 1
        assert await talks(client)


async def test_a_service_that_goes_takes_its_sessions_along_and_comes_back_with_nothing_known(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """By its name it may be another tenant's."""
    control = shop(device_limit=1)
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        client = await world.connect()
        await trio.sleep(1)
        await control.remove("shop")
        assert (await client.ended()).reason is te.Reason.EVICTED
        await control.put("shop", te.Policy(device_limit=1))
        control.delay = 2.0
        client = await world.connect()
        assert client.session.allowance is not None
        assert refusal(await world.connect("192.0.2.2")) == "as many devices as its service may have are online"
        await trio.sleep(3)
        assert await talks(client)
        assert control.checked == [("shop", "192.0.2.1")] * 2


async def test_who_was_denied_is_asked_about_again_when_its_service_comes_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers = iter([False, True])
    control = shop(check=lambda service, device: next(answers))
    async with open_edge(edge(te.DeviceLimit(), control)) as world:
        await (await world.connect()).ended()
        await control.remove("shop")
        await control.put("shop", te.Policy())
        client = await world.connect()
        await trio.sleep(1)
        assert await talks(client)


@pytest.mark.parametrize("first", [True, False])
async def test_an_answer_from_the_life_before_counts_for_nothing(
    first: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Each life's checker says something else, and the first takes longer."""
    lives = iter([(2.0, first), (2.5, not first)])

    async def check(service: str, device: str) -> te.DeviceVerdict:
        seconds, accept = next(lives)
        await trio.sleep(seconds)
        return te.DeviceVerdict(accept)

    control = te.MemoryControl({"shop": te.Policy()})
    async with open_edge(edge(te.DeviceLimit(check=check), control)) as world:
        await world.connect()
        await trio.sleep(1)
        await control.remove("shop")
        await control.put("shop", te.Policy())
        client = await world.connect()
        await trio.sleep_until(2.5)
        assert client.session.allowance is not None
        assert not client.session.allowance.lifted
        assert client.outcome is None
        await trio.sleep_until(5)
        assert (client.outcome is None) is not first


async def test_who_moved_to_another_service_and_waits_goes_with_the_one_that_let_it_in(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody is asked any more, so it would wait for ever."""
    control = shop()
    control.delay = 1000.0
    async with open_edge(edge(te.DeviceLimit(grace=te.Grace(bytes=0)), control)) as world:
        moved, other = await world.connect(), await world.connect("198.51.100.1")
        moved.session.service = "bank"
        foreseen = await world.edge.plan(te.Snapshot({}, frozenset({"shop"}), full=False))
        assert moved.outcome is None
        assert await control.remove("shop") == foreseen
        assert foreseen.evicted == 1
        with trio.fail_after(1):
            assert (await moved.ended()).reason is te.Reason.EVICTED
        assert other.outcome is None


async def test_a_session_that_moves_to_another_service_gives_its_place_back_when_it_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(edge(te.DeviceLimit(1), shop())) as world:
        client = await world.connect("192.0.2.1")
        await trio.sleep(1)
        client.session.service = "bank"
        assert isinstance((await world.connect("192.0.2.2")).outcome, te.Reject)
        await client.close()
        await client.ended()
        assert await talks(await world.connect("192.0.2.2"))
        assert await talks(await world.connect("198.51.100.1"))


async def test_a_service_that_nobody_names_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    @te.decision(provides=("service",))
    def name_it(session: te.Session) -> te.Verdict:
        session.service = "ghost"
        return te.CONTINUE

    stages = [name_it, te.DeviceLimit()]
    haunted = te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=shop())
    async with open_edge(haunted) as world:
        assert (await world.connect()).outcome == te.Reject(te.Reason.SERVICE, "no such service")


@pytest.mark.parametrize(
    ("said", "let_in", "cut_at"),
    [
        ({}, 4, 11.0),
        ({"device_limit": 1}, 2, 11.0),
        ({"device_handover": REJECT_NEW}, 2, None),
        ({"device_hold_seconds": 30.0}, 4, 31.0),
        ({"device_limit": 2, "device_handover": HOLD, "device_hold_seconds": 10.0}, 4, 11.0),
        ({"device_unchecked": STALE_FOR, "device_stale_seconds": 300.0}, 4, 11.0),
    ],
    ids=lambda said: " ".join(said) or "nothing" if isinstance(said, dict) else "",
)
async def test_each_key_of_a_policy_goes_before_its_argument_and_before_no_other(
    said: dict[str, Any], let_in: int, cut_at: float | None, autojump_clock: trio.testing.MockClock
) -> None:
    """Also one that says what a stage without arguments would do."""
    control = te.MemoryControl({"shop": te.Policy(**said)})
    limit = te.DeviceLimit(2, handover="hold", hold_seconds=10.0)
    async with open_edge(edge(limit, control)) as world:
        await trio.sleep(1)
        clients = [await world.connect(f"192.0.2.{number}") for number in range(1, 5)]
        assert sum(client.outcome is None for client in clients[-let_in:] if cut_at) == let_in * bool(cut_at)
        if cut_at is None:
            assert [client.outcome is None for client in clients] == [True, True, False, False]
        else:
            await ends_at(clients[-let_in], cut_at)


async def test_a_policy_that_says_less_gives_the_arguments_back(autojump_clock: trio.testing.MockClock) -> None:
    control = shop(device_limit=1, device_handover=REJECT_NEW)
    async with open_edge(edge(te.DeviceLimit(2, handover="evict_oldest"), control)) as world:
        clients = [await world.connect("192.0.2.1")]
        assert isinstance((await world.connect("192.0.2.2")).outcome, te.Reject)
        await control.put("shop", te.Policy())
        clients += [await world.connect(f"192.0.2.{number}") for number in (2, 3)]
        await settled()
        assert [client.outcome is None for client in clients] == [False, True, True]


# Thousands of them.


class Slow:
    """Carries nothing, and takes a fifth of a millisecond to be cut."""

    ends = 0

    def cut(self, reason: te.Reason) -> None:
        began = time.perf_counter()
        while time.perf_counter() < began + 2e-4:
            pass
        Slow.ends += 1


class TrioTime:
    """As much of a reactor as the stage needs."""

    def refresh(self) -> float:
        return trio.current_time()


def limit_of_slow_sessions(
    devices: int, sessions: int, check: Any, **policy: Any
) -> tuple[te.DeviceLimit, Governed, list[te.Session]]:
    """A stage without an edge around it, and this many sessions of each of so many devices."""
    world, limit = Governed(), te.DeviceLimit(check=check, grace=te.Grace(0.1, sessions, devices=devices))
    limit.bind(attrs.evolve(world.context, reactor=cast(Any, TrioTime())))
    world.put("default", **policy)
    live = [make_session(id=number, source=f"192.0.2.{number // sessions}") for number in range(devices * sessions)]
    for session in live:
        session.carrier = cast(Any, Slow())
        assert limit.decide(session) is te.CONTINUE
    Slow.ends = 0
    return limit, world, live


@pytest.mark.parametrize(("devices", "sessions"), [(1, 200), (200, 1)], ids=["of a device", "of many devices"])
async def test_sessions_are_cut_in_slices(devices: int, sessions: int, autojump_clock: trio.testing.MockClock) -> None:
    """Of one device that is denied, and of devices whose grace ends within the same tick of the clock."""

    async def check(service: str, device: str) -> te.DeviceVerdict:
        await trio.sleep(0 if devices == 1 else inf)
        return te.DeviceVerdict(False)

    limit, _, _ = limit_of_slow_sessions(devices, sessions, check, device_unchecked=CLOSED)
    async with trio.open_nursery() as nursery:
        await nursery.start(limit.run)
        most = 0
        while Slow.ends < 200 and trio.current_time() < 1:
            before = Slow.ends
            await trio.sleep(0.0005)
            most = max(most, Slow.ends - before)
        assert Slow.ends == 200
        assert 1 <= most <= 5, "a slice is half a millisecond, and the step that it ends with"
        nursery.cancel_scope.cancel()


async def test_a_change_cuts_a_session_a_step(autojump_clock: trio.testing.MockClock) -> None:
    limit, world, _ = limit_of_slow_sessions(2, 20, None)
    service = world.services.find("default")
    assert service is not None
    before, after = service.settings, te.Settings(te.Policy(device_limit=1, device_handover=EVICT_OLDEST))
    change = Change("default", before, after, ("device_limit", "device_handover"))
    for _ in limit.changed(service, change):
        seen, Slow.ends = Slow.ends, 0
        assert seen <= 1
    assert limit._table.online("default") == 1


async def test_verdicts_of_devices_that_came_at_once_end_one_by_one(autojump_clock: trio.testing.MockClock) -> None:
    asked_at: list[float] = []

    async def check(service: str, device: str) -> te.DeviceVerdict:
        asked_at.append(trio.current_time())
        return te.DeviceVerdict(True, seconds=600)

    limit, _, _ = limit_of_slow_sessions(200, 1, check)
    async with trio.open_nursery() as nursery:
        await nursery.start(limit.run)
        await trio.sleep(601)
        nursery.cancel_scope.cancel()
    assert len(asked_at) == 400
    again = asked_at[200:]
    assert min(again) >= 600 * (1 - SPREAD)
    assert max(Counter(int(each) for each in again).values()) < 30, "four a second, more or less"


@pytest.mark.parametrize("moment", ["idle", "cutting"])
async def test_a_cancel_ends_the_worker(moment: str, autojump_clock: trio.testing.MockClock) -> None:
    async def check(service: str, device: str) -> te.DeviceVerdict:
        return te.DeviceVerdict(moment == "idle")

    limit, _, _ = limit_of_slow_sessions(1, 50, check)
    with trio.move_on_after(0.0001 if moment == "cutting" else 1) as scope:
        await limit.run(task_status=trio.TASK_STATUS_IGNORED)
    assert scope.cancelled_caught
    assert 0 < Slow.ends < 50 if moment == "cutting" else Slow.ends == 0


async def test_a_session_that_cannot_be_cut_keeps_no_other(autojump_clock: trio.testing.MockClock) -> None:
    async def check(service: str, device: str) -> te.DeviceVerdict:
        return te.DeviceVerdict(False)

    class Stuck:
        def cut(self, reason: te.Reason) -> None:
            raise LookupError("bug")

    limit, _, sessions = limit_of_slow_sessions(1, 3, check)
    sessions[0].carrier = cast(Any, Stuck())
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(limit.run)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert Slow.ends == 2
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["device limit failed"]


# What a device is, and who is asked.


@pytest.mark.parametrize(
    ("key", "devices"),
    [
        ("source", ["192.0.2.1", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "unix"]),
        ("network", ["192.0.2.1", "2001:db8:0:1::/64", "2001:db8:0:1::/64", "unix"]),
        (lambda session: f"port {session.source_port}", ["port 0"] * 4),
    ],
)
async def test_what_a_device_is(key: Any, devices: list[str], autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge(te.DeviceLimit(key=key), shop())) as world:
        sources = ("192.0.2.1", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "unix")
        assert [(await world.connect(source)).session.device for source in sources] == devices


async def test_without_a_checker_everybody_is_accepted_and_nobody_asked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(edge(te.DeviceLimit(grace=te.Grace(sessions=1, devices=1)))) as world:
        clients = [await world.connect(f"192.0.2.{number}") for number in (1, 1, 2, 3)]
        assert all(client.outcome is None and client.session.allowance is None for client in clients)


async def test_a_checker_of_its_own_goes_before_the_control_plane(autojump_clock: trio.testing.MockClock) -> None:
    async def check(service: str, device: str) -> te.DeviceVerdict:
        return te.DeviceVerdict(False, detail="ask me")

    control = shop()
    async with open_edge(edge(te.DeviceLimit(check=check), control)) as world:
        await (await world.connect()).ended()
        assert refusal(await world.connect()) == "ask me"
        assert control.checked == []


async def test_an_edge_that_is_opened_again_knows_no_device(autojump_clock: trio.testing.MockClock) -> None:
    control = shop()
    once_more = edge(te.DeviceLimit(), control)
    for times in (1, 2):
        async with open_edge(once_more) as world:
            assert await talks(await world.connect())
            assert len(control.checked) == times


async def test_an_edge_that_stops_while_it_asks_leaves_nobody_behind(autojump_clock: trio.testing.MockClock) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    control = shop()
    control.delay = 1000.0
    async with open_edge(edge(te.DeviceLimit(grace=te.Grace(bytes=0)), control)) as world:
        client = await world.connect()
        await client.send(b"x")
        await trio.sleep(1)
        allowance = client.session.allowance
        assert allowance is not None
        assert allowance._waiting
    assert client.outcome == te.Completed(te.Reason.DRAINED)
    assert not allowance._waiting
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_the_table_is_looked_at_when_something_is_due_and_not_otherwise(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour of a device online, whose verdicts hold for a minute each, and then an hour of nobody."""
    expire, looks = DeviceTable.expire, 0

    def count(table: DeviceTable, *arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return expire(table, *arguments)

    monkeypatch.setattr(DeviceTable, "expire", count)
    control = shop()
    control.delay = 0.5
    async with open_edge(edge(te.DeviceLimit(), control, before=(te.IdleTimeout(10_000),))) as world:
        client = await world.connect()
        for number in range(20):  # whose deadlines are dropped, so that some look is for nothing
            await (await world.connect(f"192.0.2.{number + 2}")).close()
        await trio.sleep(3600)
        assert 60 <= control.checked.count(("shop", "192.0.2.1")) <= 61 / (1 - SPREAD)
        assert looks <= 5 * 61 / (1 - SPREAD)
        await client.close()
        await trio.sleep(600)
        looks = 0
        await trio.sleep(3600)
        assert looks == 0


async def test_a_fault_of_the_table_is_said_and_what_is_due_is_done_next_time(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire, faults = DeviceTable.expire, [LookupError("bug")]

    def fail_once(table: DeviceTable, *arguments: Any) -> Any:
        if faults:
            raise faults.pop()
        return expire(table, *arguments)

    control = shop(device_unchecked=CLOSED)
    control.down = True
    with capture_logs() as logs:
        async with open_edge(edge(te.DeviceLimit(), control)) as world:
            client = await world.connect("192.0.2.1")
            await trio.sleep(2)
            other = await world.connect("192.0.2.2")
            monkeypatch.setattr(DeviceTable, "expire", fail_once)
            for each, ends in ((client, 5), (other, 7)):
                await ends_at(each, ends)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["device limit failed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"devices": 0}, r"DeviceLimit\(devices=0\) must be a whole number of at least 1"),
        ({"key": "mac"}, r"DeviceLimit\(key='mac'\) must be 'source' or 'network'"),
        ({"handover": "swap"}, r"DeviceLimit\(handover='swap'\) must be 'reject_new' or 'evict_oldest' or 'hold'"),
        ({"hold_seconds": -1}, r"DeviceLimit\(hold_seconds=-1\)"),
        ({"unchecked": "ask"}, r"DeviceLimit\(unchecked='ask'\) must be 'fail_open' or 'fail_closed' or 'stale_for'"),
        ({"hold_seconds": Decimal(60)}, r"DeviceLimit\(hold_seconds=Decimal\('60'\)\) must be a number of at least 0"),
        ({"stale_seconds": -1}, r"DeviceLimit\(stale_seconds=-1\)"),
        ({"stale_seconds": Fraction(60)}, r"DeviceLimit\(stale_seconds=Fraction\(60, 1\)\) must be a number"),
        ({"check_seconds": Decimal(3)}, r"DeviceLimit\(check_seconds=Decimal\('3'\)\) must be a number above 0"),
        ({"check_seconds": 0}, r"DeviceLimit\(check_seconds=0\) must be a number above 0"),
        ({"capacity": 0}, r"DeviceLimit\(capacity=0\)"),
        ({"grace": 5}, r"DeviceLimit\(grace=5\) must be a Grace, as in Grace\(seconds=5\)"),
        ({"check": "ask"}, r"DeviceLimit\(check='ask'\) must be an async function: async def check\(service, device\)"),
        ({"check": by_network}, r"DeviceLimit\(check=<function by_network .*>\) must be an async function: async def"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(te.ConfigurationError, match=message):
        te.DeviceLimit(**arguments)


def test_it_prints_as_it_was_written() -> None:
    assert repr(te.DeviceLimit()) == "DeviceLimit(key='source')"
    assert repr(te.DeviceLimit(2, "network")) == "DeviceLimit(devices=2, key='network')"
    assert repr(te.DeviceLimit(2, by_network)) == "DeviceLimit(devices=2, key='by_network')"
    strict = te.DeviceLimit(2, handover="hold", unchecked="fail_open", grace=te.Grace(bytes=0))
    assert repr(strict).startswith(
        "DeviceLimit(devices=2, key='source', handover='hold', unchecked='fail_open', grace=Gr"
    )


def test_it_says_what_it_needs_and_which_policies_it_enforces() -> None:
    assert te.DeviceLimit.requires == ("service",)
    assert set(te.DeviceLimit.enforces) == {name for name in te.Policy.__slots__ if name.startswith("device_")}
