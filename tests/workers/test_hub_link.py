"""The link of a control plane in the control process: snapshots, evictions and devices over all workers."""

from functools import partial

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.worker_edges import Kept, by_source, make_control, talk
from tests.support.workers import Workers, open_workers
from trioedge.services.policy import Settings
from trioedge.services.snapshot import Snapshot


async def silent(*_: object) -> None:
    """Answer nothing."""
    await trio.sleep_forever()


async def test_a_worker_that_does_not_answer_is_named_and_delays_no_other(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        stopped = world.workers[0].part.control
        assert stopped is not None
        monkeypatch.setattr(stopped, "take", silent)
        with capture_logs() as lines:
            began = trio.current_time()
            await control.put("shop", te.Policy(enabled=False))
            assert trio.current_time() - began == pytest.approx(2)
        assert not world.workers[1].edge.services["shop"].policy.enabled
        assert [line["workers"] for line in lines if line["event"] == "workers lag behind the services"] == [[0]]
        assert world.hub is not None
        assert [each.lags for each in world.hub.states()["edge"].workers] == [True, False]


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


async def test_a_plan_names_a_worker_that_has_hung_up_and_counts_the_others(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        for worker in range(2):
            await talk(world, worker)
        stopped = world.workers[0].part.control
        assert stopped is not None
        monkeypatch.setattr(stopped, "take", silent)
        assert world.hub is not None
        with capture_logs() as lines:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut_later, world)
                plan = await world.hub.plan("edge", Snapshot({"shop": Settings(te.Policy(enabled=False))}, full=False))
        assert plan.evicted == 1
        assert [line["worker"] for line in lines if line["event"] == "a plan lacks the sessions of a worker"] == [0]


async def cut_later(world: Workers) -> None:
    await trio.sleep(5)
    world.cut_connections()
