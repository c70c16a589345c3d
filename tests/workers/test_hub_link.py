"""The link of a control plane in the control process: snapshots, evictions and devices over all workers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.worker_edges import Kept, by_source, make_control, talk
from tests.support.workers import Workers, open_workers
from trioedge.services.apply import SnapshotApplier
from trioedge.services.policy import Settings
from trioedge.services.snapshot import Plan, Snapshot
from trioedge.workers.follower import FORESEE_SECONDS


async def silent(*_: object) -> None:
    """Answer nothing."""
    await trio.sleep_forever()


def stop(world: Workers, monkeypatch: pytest.MonkeyPatch, number: int = 0) -> None:
    """Have a worker answer nothing that is said of services, as if its loop were blocked."""
    part = world.workers[number].part.control
    assert part is not None
    monkeypatch.setattr(part, "take", silent)


async def test_a_worker_that_does_not_answer_is_named_and_delays_no_other(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        stop(world, monkeypatch)
        with capture_logs() as lines:
            began = trio.current_time()
            plan = await control.put("shop", te.Policy(enabled=False))
            assert trio.current_time() - began == pytest.approx(2)
            assert plan.missing == 1
        assert not world.workers[1].edge.services["shop"].policy.enabled
        assert [line["workers"] for line in lines if line["event"] == "workers lag behind the services"] == [[0]]
        assert world.hub is not None
        assert [each.lags for each in world.hub.state("edge").workers] == [True, False]


async def test_workers_that_hang_up_while_a_snapshot_is_applied_are_missing(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        stop(world, monkeypatch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut_later, world, 1.0)
            plan = await control.put("shop", te.Policy(enabled=False))
        assert str(plan) == "changes 1 service; touches no session; 2 workers did not answer"


@pytest.mark.parametrize(
    ("what", "known", "cut"),
    [
        ({"service": "shop"}, 3, [0, 1, 2]),
        ({"service": "shop", "source": "192.0.2.1"}, 1, [0]),
        ({"source": "192.0.2.0/24"}, 0, [0, 1, 2]),
        ({"source": "203.0.113.1"}, 0, [3]),
    ],
)
async def test_evict_cuts_in_every_worker(
    what: dict[str, str], known: int, cut: list[int], autojump_clock: trio.testing.MockClock
) -> None:
    control = Kept({"shop": te.Policy(), "bank": te.Policy()})
    async with open_workers(by_source, control) as world:
        where = [(0, "192.0.2.1"), (1, "192.0.2.2"), (1, "192.0.2.3"), (0, "203.0.113.1")]
        clients = [await talk(world, worker, source) for worker, source in where]
        await trio.sleep(1.5)
        assert sorted(control.link.online("shop")) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        assert control.link.evict(**what) == known
        await trio.sleep(0.5)
        assert [number for number, client in enumerate(clients) if client.outcome is not None] == cut


async def test_a_plan_counts_the_sessions_of_every_worker_and_changes_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def compose(control: te.ControlPlane | None) -> te.Edge:
        return by_source(control, te.Pacing())

    control = make_control()
    async with open_workers(compose, control) as world:
        where = [(0, "192.0.2.1"), (1, "192.0.2.2"), (1, "203.0.113.1")]
        clients = [await talk(world, worker, source) for worker, source in where]
        assert world.hub is not None
        plan = partial(world.hub.plan, "edge")
        slower = Settings(te.Policy(down_rate=1e6))
        closed = Settings(te.Policy(enabled=False))
        entries = tuple(f"2001:db8:{number >> 8:x}:{number & 255:x}::/64" for number in range(20_000))
        long = Settings(te.Policy(reject=("192.0.2.2", *entries)))
        assert str(await plan(Snapshot({"shop": slower}, full=False))) == "changes 1 service; retunes 2 sessions"
        assert str(await plan(Snapshot({"shop": closed}, full=False))) == "changes 1 service; evicts 2 sessions"
        assert (await plan(Snapshot({"shop": slower}))).evicted == 1, "that of the bank, which is removed"
        assert str(await plan(Snapshot({"new": closed}, full=False))) == "adds 1 service; touches no session"
        assert (await plan(Snapshot({"shop": long}, full=False))).changed == {"shop": ("reject",)}
        for worker in world.workers:
            assert {*worker.edge.services} == {"shop", "bank"}
            assert worker.edge.services["shop"].policy == te.Policy()
        assert [client.outcome for client in clients] == [None] * 3
        assert (await control.put("shop", te.Policy(enabled=False))).evicted == 2


@pytest.mark.parametrize(
    ("policy", "evicted"),
    [
        (te.Policy(device_limit=3), 5),
        (te.Policy(device_limit=3, device_handover=te.Handover.EVICT_OLDEST), 5),
        (te.Policy(device_limit=8), 0),
        (te.Policy(device_limit=3, reject=("192.0.2.1", "192.0.2.7")), 6),
        (te.Policy(device_limit=3, enabled=False), 8),
    ],
)
async def test_a_plan_counts_the_sessions_of_devices_beyond_a_limit_over_all_workers_as_they_are_cut_then(
    autojump_clock: trio.testing.MockClock, policy: te.Policy, evicted: int
) -> None:
    control = te.MemoryControl({"shop": te.Policy(device_limit=50)})

    def compose(control: te.ControlPlane | None) -> te.Edge:
        stages = [te.Identify("shop"), te.SourceMatch(), te.DeviceLimit()]
        return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)

    async with open_workers(compose, control) as world:
        clients = []
        for number in range(8):  # the last one is the first to go, but for evict_oldest
            clients.append(await talk(world, number % 2, f"192.0.2.{number}"))
            await trio.sleep(0.1)
        assert world.hub is not None
        plan = await world.hub.plan("edge", Snapshot({"shop": Settings(policy)}, full=False))
        assert plan.evicted == evicted
        await trio.sleep(1)
        assert [client.outcome for client in clients] == [None] * 8
        await control.put("shop", policy)
        await trio.sleep(1)
        assert sum(client.outcome is not None for client in clients) == evicted


CLOSED = Snapshot({"shop": Settings(te.Policy(enabled=False))}, full=False)


def lacking(lines: Sequence[Mapping[str, Any]]) -> list[int]:
    """Give the workers whose sessions a plan lacks, as the log says."""
    (line,) = (line for line in lines if line["event"] == "a plan lacks the sessions of workers")
    workers: list[int] = line["workers"]
    return workers


@pytest.mark.parametrize("hangs_up", [True, False])
async def test_a_plan_counts_and_names_a_worker_that_hangs_up_or_does_not_answer_within_10_s(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, hangs_up: bool
) -> None:
    async with open_workers(by_source, make_control()) as world:
        for worker in range(2):
            await talk(world, worker)
        stop(world, monkeypatch)
        assert world.hub is not None
        began = trio.current_time()
        with capture_logs() as lines:
            async with trio.open_nursery() as nursery:
                if hangs_up:
                    nursery.start_soon(cut_later, world)
                plan = await world.hub.plan("edge", CLOSED)
        assert trio.current_time() - began <= FORESEE_SECONDS
        assert str(plan) == "changes 1 service; evicts 1 session; 1 worker did not answer"
        assert lacking(lines) == [0]


async def cut_later(world: Workers, seconds: float = 5.0) -> None:
    await trio.sleep(seconds)
    world.cut_connections()


async def test_a_plan_while_the_workers_connect_again_says_that_it_lacks_their_sessions(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_workers(by_source, make_control()) as world:
        for worker in range(2):
            await talk(world, worker)
        world.cut_connections()
        await trio.testing.wait_all_tasks_blocked()
        assert world.hub is not None
        with capture_logs() as lines:
            plan = await world.hub.plan("edge", CLOSED)
        assert (plan.evicted, plan.missing, lacking(lines)) == (0, 2, [0, 1])
        await trio.sleep(3)
        plan = await world.hub.plan("edge", CLOSED)
        assert (plan.evicted, plan.missing) == (2, 0)


async def test_what_is_taken_away_does_not_wait_for_a_plan_that_is_counted(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        client = await talk(world, 0)
        foreseeing = trio.Event()

        async def count_for_ever(*_: object) -> Plan:
            foreseeing.set()
            await trio.sleep_forever()

        monkeypatch.setattr(SnapshotApplier, "foresee", count_for_ever)
        assert world.hub is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.hub.plan, "edge", CLOSED)
            await foreseeing.wait()
            began = trio.current_time()
            plan = await control.put("shop", te.Policy(enabled=False))
            assert (plan.evicted, plan.missing) == (1, 0)
            assert (await client.ended()).reason is te.Reason.EVICTED
            assert trio.current_time() - began < 0.5


async def test_a_plan_that_is_given_up_amid_a_long_service_has_no_effect_on_what_comes_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    entries = tuple(f"2001:db8:{number >> 8:x}:{number & 255:x}::/64" for number in range(20_000))
    async with open_workers(by_source, control) as world:
        await talk(world, 0)
        assert world.hub is not None
        for steps in (20, 60):
            async with trio.open_nursery() as nursery:
                snapshot = Snapshot({"shop": Settings(te.Policy(reject=entries))}, full=False)
                nursery.start_soon(world.hub.plan, "edge", snapshot)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert str(await world.hub.plan("edge", CLOSED)) == "changes 1 service; evicts 1 session"
            await control.put("shop", te.Policy(reject=entries[steps:]))
            for worker in world.workers:
                assert worker.edge.services["shop"].policy.reject == entries[steps:]


@pytest.mark.parametrize("what", [{"service": "shop"}, {"source": "192.0.2.1"}])
async def test_an_eviction_amid_a_lost_connection_reaches_the_worker_over_the_next_one(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, what: dict[str, str]
) -> None:
    control = Kept({"shop": te.Policy(), "bank": te.Policy()})
    async with open_workers(by_source, control) as world:
        clients = [await talk(world, worker) for worker in range(2)]
        await trio.sleep(3)
        for number in range(2):
            stop(world, monkeypatch, number)
        control.link.evict(**what)
        await trio.sleep(0.1)
        monkeypatch.undo()
        world.cut_connections()
        await trio.sleep(3)
        assert [client.outcome and client.outcome.reason for client in clients] == [te.Reason.EVICTED] * 2
