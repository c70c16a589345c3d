"""What one process collects of its run."""

import trio
from trio.testing import MockClock

import trioedge as te
from tests.support.admin import admin_world
from tests.support.edges import exchange, make_edge, services
from tests.support.steps import longest_step
from trioedge.admin.local import Local
from trioedge.admin.metrics.collect import POOLS_A_STEP, collect, collect_meters
from trioedge.admin.metrics.families import SAMPLES_A_STEP, Collection
from trioedge.telemetry.meters import Meters

POLICIES = services(a=te.Policy(), b=te.Policy(), c=te.Policy(enabled=False))


def samples(local: Local, name: str, names: list[str] | None = None) -> dict[str, float]:
    found: dict[str, float] = longest_step(collect(local, names))[2][name]["samples"]
    return found


async def test_sessions_are_counted_by_their_reasons(autojump_clock: MockClock) -> None:
    async with admin_world(make_edge(POLICIES)) as world:
        client = await world.edge.connect("192.0.2.1")
        await exchange(client)
        await client.finish()
        await client.ended()
        await world.edge.connect("192.0.2.3")  # its service is disabled
        await exchange(await world.edge.connect("192.0.2.2"))
        local = world.local
        assert samples(local, "trioedge_sessions_accepted_total") == {"": 3}
        assert samples(local, "trioedge_sessions_live") == {'worker="0"': 1}
        ended = samples(local, "trioedge_sessions_ended_total")
        assert (len(ended), sum(ended.values()), ended['reason="finished"']) == (len(te.Reason), 1, 1)
        refused = samples(local, "trioedge_sessions_refused_total")
        assert (sum(refused.values()), refused['reason="service"']) == (1, 1)
        assert samples(local, "trioedge_bytes_total") == {'direction="up"': 8, 'direction="down"': 8}
        assert samples(local, "trioedge_accepting") == {'worker="0"': 1}


async def test_each_stage_has_its_times_and_two_of_one_name_are_told_apart(autojump_clock: MockClock) -> None:
    edge = make_edge(services(a=te.Policy()), te.SessionGate(), te.SessionGate(5, per="source"))
    async with admin_world(edge) as world:
        await world.edge.connect("192.0.2.1")
        found = samples(world.local, "trioedge_stage_seconds")
    counts = {labels: sum(value["counts"]) for labels, value in found.items()}  # type: ignore[index]
    assert counts == {f'stage="{name}",kind="decision"': 1 for name in ("Identify", "SessionGate", "SessionGate 2")}
    assert all(value["nanoseconds"] > 0 for value in found.values())  # type: ignore[index]


async def test_tables_have_their_entries_and_their_bounds(autojump_clock: MockClock) -> None:
    edge = make_edge(POLICIES, te.ConcurrencyLimit(7, per="source"), max_sessions=10, max_handshakes=3)
    async with admin_world(edge) as world:
        await exchange(await world.edge.connect("192.0.2.1"))
        entries = samples(world.local, "trioedge_table_entries")
        capacity = samples(world.local, "trioedge_table_capacity")
    assert entries == {f'worker="0",table="{name}"': used for name, used in (
        ("sessions", 1), ("handshakes", 0), ("names", 0), ("counter", 1),
    )}  # fmt: skip
    assert entries.keys() == capacity.keys()
    assert capacity['worker="0",table="sessions"'] == 10


async def test_the_services_that_are_named_and_all_others_together_are_those_of_the_edge(
    autojump_clock: MockClock,
) -> None:
    async with admin_world(make_edge(POLICIES)) as world:
        for source in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
            await exchange(await world.edge.connect(source))
        for names in ([], ["a"], ["a", "b"], ["a", "unknown"], ["b", "other"]):
            live = samples(world.local, "trioedge_service_sessions", names)
            moved = samples(world.local, "trioedge_service_bytes_total", names)
            assert sum(live.values()) == 3
            assert sum(moved.values()) == 24
            known = {f'service="{name}"' for name in names if name in ("a", "b")}
            assert {*live} == known | {'service="other"'}
        assert live == {'service="b"': 1, 'service="other"': 2}


async def test_a_service_that_is_called_other_is_one_of_the_others(autojump_clock: MockClock) -> None:
    control = te.MemoryControl({"other": te.Policy()})
    edge = te.Edge(
        "tcp://127.0.0.1:1", [te.Identify(lambda _: "other")], te.Forward("tcp://192.0.2.9:1"), control=control
    )
    async with admin_world(edge) as world:
        await exchange(await world.edge.connect("192.0.2.1"))
        assert samples(world.local, "trioedge_service_sessions", ["other"]) == {'service="other"': 1}


async def test_without_names_services_have_no_samples(autojump_clock: MockClock) -> None:
    async with admin_world(make_edge(POLICIES)) as world:
        assert "trioedge_service_sessions" not in longest_step(collect(world.local))[2]


async def test_a_thousand_services_are_collected_in_steps(autojump_clock: MockClock) -> None:
    names = [f"s{number}" for number in range(1_000)]
    control = te.MemoryControl({name: te.Policy() for name in names})
    async with admin_world(make_edge(control)) as world:
        few = longest_step(collect(world.local))[0]
        steps, _, found = longest_step(collect(world.local, names))
    assert len(found["trioedge_service_sessions"]["samples"]) == 1_001
    assert steps - few >= 1_000 // (SAMPLES_A_STEP // 4) + 1_000 // SAMPLES_A_STEP


def test_ten_thousand_pools_are_counted_in_steps() -> None:
    class Pool(list[int]):
        __hash__ = object.__hash__  # type: ignore[assignment]

    meters, found = Meters(), Collection()
    pools = [Pool([1, 2]) for _ in range(10_000)]
    meters.pools.update(pools)
    steps, _, _ = longest_step(collect_meters(found, meters, "0"))
    assert found.families["trioedge_preconnect_idle"]["samples"] == {"": 20_000}
    assert steps >= 10_000 // POOLS_A_STEP


async def test_the_stall_of_the_loop_is_that_of_the_last_minute(autojump_clock: MockClock) -> None:
    async with admin_world(make_edge(POLICIES)) as world:
        world.local.stall.add(0.5, trio.current_time())
        assert samples(world.local, "trioedge_loop_stall_max_seconds") == {'worker="0"': 0.5}
        await trio.sleep(61)
        assert samples(world.local, "trioedge_loop_stall_max_seconds") == {'worker="0"': 0.0}
