"""Device limits and policies in a whole edge, in memory, under a clock that jumps to the next event."""

from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.device_edges import (
    LATE,
    REFUSED,
    by_network,
    ends_at,
    make_control,
    make_edge,
    refusal,
    settled,
    talks,
    three_devices,
)
from trioedge.testing import open_edge

OPEN, CLOSED, STALE_FOR = te.Unchecked
REJECT_NEW, EVICT_OLDEST, HOLD = te.Handover

AT_LIMIT = "as many devices as its service may have are online"


# One device too many.


async def test_with_reject_new_one_device_too_many_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(make_edge(te.DeviceLimit(2))) as world:
        clients = await three_devices(world)
        assert refusal(clients[3]) == AT_LIMIT
        assert (await world.connect("198.51.100.1")).outcome is None  # of another service
        for client in clients[:2]:
            await client.close()
            await client.ended()
        assert await talks(await world.connect("192.0.2.3"))


async def test_with_evict_oldest_one_device_too_many_cuts_the_oldest(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(make_edge(te.DeviceLimit(2, handover="evict_oldest"))) as world:
        clients = await three_devices(world)
        assert [client.outcome for client in clients] == [te.Completed(REFUSED)] * 2 + [None, None]
        assert await talks(clients[2])
        assert await talks(clients[3])


async def test_with_hold_one_device_too_many_cuts_the_oldest_after_the_hold(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(make_edge(te.DeviceLimit(2, handover="hold", hold_seconds=10))) as world:
        clients = await three_devices(world)
        assert all([await talks(client) for client in clients])
        for client in clients[:2]:
            await ends_at(client, 13)
        assert await talks(clients[2])
        assert await talks(clients[3])


async def test_at_the_end_of_a_hold_no_device_is_cut_if_one_has_left(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(make_edge(te.DeviceLimit(2, handover="hold", hold_seconds=10))) as world:
        clients = await three_devices(world)
        await clients[2].close()
        await trio.sleep(20)
        assert [client.outcome for client in clients] == [None, None, te.Completed(), None]


async def test_an_unknown_device_counts_and_cuts_the_oldest(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control(device_limit=2, device_handover=EVICT_OLDEST)
    control.delay = 4.0
    async with open_edge(make_edge(te.DeviceLimit(check_seconds=10), control)) as world:
        clients = await three_devices(world)
        assert [client.outcome for client in clients] == [te.Completed(REFUSED)] * 2 + [None, None]
        assert clients[3].session.allowance is not None


async def test_a_device_is_refused_with_capacity_when_all_in_the_table_are_online(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(make_edge(te.DeviceLimit(capacity=2), make_control())) as world:
        for number in (1, 2, 3):
            client = await world.connect(f"192.0.2.{number}")
        assert client.outcome == te.Reject(te.Reason.CAPACITY, "the device table is full")


# The policy and the arguments.


@pytest.mark.parametrize(
    ("policy", "admitted"),
    [
        (te.Policy(), 3),
        (te.Policy(device_limit=1), 1),
        (te.Policy(device_limit=5), 5),
        (te.Policy(device_stale_seconds=1.0), 3),
        (te.Policy(device_unchecked=OPEN), 3),
    ],
    ids=["nothing", "a lower limit", "a higher limit", "stale seconds", "unchecked"],
)
async def test_the_argument_applies_unless_the_policy_sets_a_limit(
    policy: te.Policy, admitted: int, autojump_clock: trio.testing.MockClock
) -> None:
    control = te.MemoryControl({"shop": policy})
    async with open_edge(make_edge(te.DeviceLimit(3), control)) as world:
        clients = [await world.connect(f"192.0.2.{number}") for number in range(1, 8)]
        assert sum(client.outcome is None for client in clients) == admitted


@pytest.mark.parametrize(
    ("said", "admitted", "cut_at"),
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
    said: dict[str, Any], admitted: int, cut_at: float | None, autojump_clock: trio.testing.MockClock
) -> None:
    """Also a key that has the value that a stage without arguments would have."""
    control = te.MemoryControl({"shop": te.Policy(**said)})
    limit = te.DeviceLimit(2, handover="hold", hold_seconds=10.0)
    async with open_edge(make_edge(limit, control)) as world:
        await trio.sleep(1)
        clients = [await world.connect(f"192.0.2.{number}") for number in range(1, 5)]
        if cut_at is None:
            assert [client.outcome is None for client in clients] == [True] * admitted + [False] * (4 - admitted)
        else:
            assert all(client.outcome is None for client in clients[-admitted:])
            await ends_at(clients[-admitted], cut_at)


async def test_a_policy_that_sets_less_gives_the_arguments_back(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control(device_limit=1, device_handover=REJECT_NEW)
    async with open_edge(make_edge(te.DeviceLimit(2, handover="evict_oldest"), control)) as world:
        clients = [await world.connect("192.0.2.1")]
        assert isinstance((await world.connect("192.0.2.2")).outcome, te.Reject)
        await control.put("shop", te.Policy())
        clients += [await world.connect(f"192.0.2.{number}") for number in (2, 3)]
        await settled()
        assert [client.outcome is None for client in clients] == [False, True, True]


# A policy that changes.


@pytest.mark.parametrize(("handover", "stay"), [(REJECT_NEW, {1, 2}), (EVICT_OLDEST, {3, 4})])
async def test_a_lower_limit_cuts_devices_at_once_as_its_plan_says(
    handover: te.Handover, stay: set[int], autojump_clock: trio.testing.MockClock
) -> None:
    control = make_control(device_handover=handover)
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
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


async def test_a_lower_limit_with_a_hold_cuts_the_oldest_after_the_hold(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
        clients = [await world.connect(f"192.0.2.{number}") for number in range(1, 4)]
        await trio.sleep(10)
        await control.put("shop", te.Policy(device_limit=2, device_handover=HOLD, device_hold_seconds=7))
        applied_at = trio.current_time()
        assert (await clients[0].ended()).reason is REFUSED
        assert 17 <= trio.current_time() <= applied_at + 7 + LATE
        assert await talks(clients[1])
        assert await talks(clients[2])


async def test_a_recheck_that_denies_a_device_cuts_it(autojump_clock: trio.testing.MockClock) -> None:
    denied: set[str] = set()
    control = make_control(check=lambda service, device: device not in denied)
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
        clients = [await world.connect(f"192.0.2.{number}") for number in (1, 2)]
        await trio.sleep(10)
        denied.add("192.0.2.2")
        await control.put("shop", te.Policy(device_limit=5))
        outcome = await clients[1].ended()
        assert outcome.reason is REFUSED
        assert trio.current_time() < 11, "an answer is applied at once, but for the rests of a busy machine"
        assert await talks(clients[0])


@pytest.mark.parametrize(
    "said",
    [
        {"device_hold_seconds": 1.0},
        {"device_stale_seconds": 1.0},
        {"device_unchecked": OPEN},
        {"max_sessions": 100},
    ],
    ids=lambda said: next(iter(said)),
)
async def test_a_change_of_a_key_without_recheck_checks_no_device(
    said: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    control = make_control()
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
        client = await world.connect()
        await trio.sleep(10)
        plan = await control.put("shop", te.Policy(**said))
        await trio.sleep(10)
        assert plan.rechecked == 0
        assert len(control.checked) == 1
        assert await talks(client)


# Services that are removed, and sessions that move.


async def test_a_removed_service_that_is_named_again_starts_without_devices(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It may be another tenant's."""
    control = make_control(device_limit=1)
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
        client = await world.connect()
        await trio.sleep(1)
        await control.remove("shop")
        assert (await client.ended()).reason is te.Reason.EVICTED
        await control.put("shop", te.Policy(device_limit=1))
        control.delay = 2.0
        client = await world.connect()
        assert client.session.allowance is not None
        assert refusal(await world.connect("192.0.2.2")) == AT_LIMIT
        await trio.sleep(3)
        assert await talks(client)
        assert control.checked == [("shop", "192.0.2.1")] * 2


async def test_a_denied_device_is_checked_again_when_its_service_is_named_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers = iter([False, True])
    control = make_control(check=lambda service, device: next(answers))
    async with open_edge(make_edge(te.DeviceLimit(), control)) as world:
        await (await world.connect()).ended()
        await control.remove("shop")
        await control.put("shop", te.Policy())
        client = await world.connect()
        await trio.sleep(1)
        assert await talks(client)


@pytest.mark.parametrize("first", [True, False])
async def test_an_answer_about_the_former_service_is_dropped(
    first: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Each of the two services has another answer, and the first answer takes longer."""
    answers = iter([(2.0, first), (2.5, not first)])

    async def check(service: str, device: str) -> te.DeviceVerdict:
        seconds, accept = next(answers)
        await trio.sleep(seconds)
        return te.DeviceVerdict(accept)

    control = te.MemoryControl({"shop": te.Policy()})
    async with open_edge(make_edge(te.DeviceLimit(check=check), control)) as world:
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


async def test_sessions_of_the_former_service_that_are_still_ending_take_no_place_in_the_new_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @te.middleware
    async def ends_slowly(session: te.Session, call_next: te.Handler) -> te.Outcome:
        try:
            return await call_next(session)
        finally:
            if session.source == "192.0.2.1":
                with trio.CancelScope(shield=True):
                    await trio.sleep(60)

    control = make_control(device_limit=1)
    async with open_edge(make_edge(te.DeviceLimit(), control, before=(ends_slowly,))) as world:
        former = await world.connect("192.0.2.1")
        await trio.sleep(1)
        await control.remove("shop")
        await control.put("shop", te.Policy(device_limit=1))
        client = await world.connect("192.0.2.2")
        assert await talks(client)
        assert former.outcome is None, "it is still ending"
        assert (await former.ended()).reason is te.Reason.EVICTED
        assert trio.current_time() >= 61
        assert await talks(client)
        late = await world.connect("192.0.2.3")
        assert (await late.ended()) == te.Reject(REFUSED, AT_LIMIT)


async def test_a_session_of_a_removed_service_that_comes_late_is_refused_and_leaves_no_device(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its service is removed while a middleware before the limit does not let a cancel through."""

    @te.middleware
    async def wait_shielded(session: te.Session, call_next: te.Handler) -> te.Outcome:
        if session.source == "192.0.2.1":
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
        return await call_next(session)

    control = make_control(device_limit=1)
    async with open_edge(make_edge(te.DeviceLimit(), control, before=(wait_shielded,))) as world:
        late = await world.connect("192.0.2.1")
        await trio.sleep(1)
        await control.remove("shop")
        await control.put("shop", te.Policy(device_limit=1))
        assert (await late.ended()).reason is te.Reason.EVICTED
        assert trio.current_time() >= 5
        assert late.session.device is None
        assert control.checked == []
        assert await talks(await world.connect("192.0.2.2"))


async def test_a_session_that_moved_to_another_service_ends_when_the_service_of_its_device_is_removed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its check is dropped, so it would wait for ever."""

    @te.middleware
    async def move_later(session: te.Session, call_next: te.Handler) -> te.Outcome:
        await trio.sleep(1)
        session.service = "bank"
        await trio.sleep_forever()
        raise AssertionError  # never

    control = make_control()
    control.delay = 1000.0
    stages = [te.Identify(by_network), te.DeviceLimit(grace=te.Grace(bytes=0)), move_later]
    edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)
    async with open_edge(edge) as world:
        moved, other = await world.connect(), await world.connect("198.51.100.1")
        await trio.sleep(2)
        assert moved.session.service.name == "bank"
        foreseen = await world.edge.plan(te.Snapshot({}, frozenset({"shop"}), full=False))
        assert moved.outcome is None
        assert await control.remove("shop") == foreseen
        assert foreseen.evicted == 1
        with trio.fail_after(LATE):
            assert (await moved.ended()).reason is te.Reason.EVICTED
        assert other.outcome is None


async def test_a_session_that_moved_to_another_service_gives_its_place_back_when_it_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @te.middleware
    async def move(session: te.Session, call_next: te.Handler) -> te.Outcome:
        if session.source == "192.0.2.1":
            session.service = "bank"
        return await call_next(session)

    stages = [te.Identify(by_network), te.DeviceLimit(1), move]
    edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=make_control())
    async with open_edge(edge) as world:
        client = await world.connect("192.0.2.1")
        await trio.sleep(1)
        assert client.session.service.name == "bank"
        assert isinstance((await world.connect("192.0.2.2")).outcome, te.Reject)
        await client.close()
        await client.ended()
        assert await talks(await world.connect("192.0.2.2"))
        assert await talks(await world.connect("198.51.100.1"))


async def test_a_session_of_an_unknown_service_is_refused_before_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @te.decision(provides=("service",))
    def name_it(session: te.Session) -> te.Verdict:
        session.service = "ghost"
        return te.CONTINUE

    control = make_control()
    stages = [name_it, te.DeviceLimit()]
    edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)
    async with open_edge(edge) as world:
        client = await world.connect()
        assert client.outcome == te.Reject(te.Reason.SERVICE, "no such service")
        assert client.session.device is None
        assert control.checked == []
