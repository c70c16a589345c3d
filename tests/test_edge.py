"""The description of an edge, its runs, and what it answers."""

from typing import Any

import pytest
from trio.testing import MockClock

import trioedge as te
from tests.support.edges import exchange, make_edge, services
from trioedge.testing import open_edge


async def test_live_ended_and_refused_sessions_are_explained(autojump_clock: MockClock) -> None:
    async with open_edge(make_edge(services(a=te.Policy(session_rate=1, session_burst=1)))) as world:
        edge = world.edge
        client, refused = await world.connect(), await world.connect()
        await exchange(client)
        stages = ["Identify", "SessionGate", "SourceMatch", "ConcurrencyLimit", "Pacing", "Forward"]
        live = edge.explain(client.session)
        assert edge.explain(client.session.id) == live
        assert [step.stage for step in live.steps] == stages
        assert [step.answer for step in live.steps] == ["continue"] * 5 + ["connected"]
        assert all(step.microseconds is not None and step.microseconds < 1e5 for step in live.steps)
        found = edge.explain(refused.session.id)
        assert [(step.stage, step.answer) for step in found.steps] == [
            ("Identify", "continue"),
            ("SessionGate", "rate: more sessions a second than its service's policy has"),
        ]
        await client.close()
        await client.ended()
        assert edge.explain(client.session.id).outcome == "finished"
        with pytest.raises(KeyError):
            edge.explain(99)
        assert [(each.stage, each.sessions) for each in edge.stage_times()] == [
            ("Identify", 2), ("SessionGate", 2), ("SourceMatch", 1), ("ConcurrencyLimit", 1), ("Pacing", 1),
        ]  # fmt: skip


async def test_a_refusal_by_the_endpoint_is_explained_at_the_endpoint(autojump_clock: MockClock) -> None:
    edge = make_edge(services(a=te.Policy()), te.IdleTimeout(9), endpoint=te.Forward())
    async with open_edge(edge) as world:
        client = await world.connect()
        await client.ended()
        assert [(step.stage, step.answer) for step in edge.explain(client.session).steps] == [
            ("Identify", "continue"),
            ("IdleTimeout", "continue"),
            ("Forward", "service: no stage wrote a destination, and its policy names none"),
        ]


async def test_evict_says_how_many_by_service_source_device_and_session(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(), b=te.Policy())
    async with open_edge(make_edge(control, te.DeviceLimit())) as world:
        edge = world.edge
        sources = ["192.0.2.1", "192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.2"]
        clients = [await world.connect(source) for source in sources]
        assert edge.evict(service="a", source="192.0.2.2") == 0
        assert edge.evict(service="a", device="2001:db8::/64") == 1
        assert edge.evict(session=clients[0].session) == 1
        assert edge.evict(session=clients[1].session.id, service="b") == 0
        assert edge.evict(source="192.0.2.1") == 1
        assert edge.evict(service="b") == 2
        assert edge.evict(service="b") == 0
        with pytest.raises(TypeError):
            edge.evict()
        with pytest.raises(TypeError):
            edge.evict(device="192.0.2.1")
        for client in clients:
            assert await client.ended() == te.Completed(te.Reason.EVICTED)


async def test_evict_takes_prefixes_and_addresses_in_any_spelling(autojump_clock: MockClock) -> None:
    async with open_edge(te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.9:6379"))) as world:
        sources = ["192.0.2.1", "192.0.2.9", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8:1::1"]
        clients = [await world.connect(source) for source in sources]
        edge = world.edge
        assert edge.evict(source="198.51.100.0/24") == edge.evict(source="2001:db8:9::/64") == 0
        assert edge.evict(source="2001:DB8::0:1") == 1
        assert edge.evict(source="2001:db8::/64") == 1
        assert edge.evict(source="2001:db8::/48") == 1
        assert edge.evict(source="192.0.2.0/24", service="other") == 0
        assert edge.evict(source="::ffff:192.0.2.0/125") == 1
        assert edge.evict(source="192.0.2.0/24", service="default") == 1
        assert edge.evict(source="::/0") == 1
        for client in clients:
            assert await client.ended() == te.Completed(te.Reason.EVICTED)


async def test_an_edge_without_a_control_plane_has_services_of_any_name(autojump_clock: MockClock) -> None:
    async with open_edge(make_edge(None, te.IdleTimeout(60))) as world:
        client = await world.connect("192.0.2.1")
        await exchange(client)
        assert client.session.service is world.edge.services["a"]
        state = world.edge.control_state()
        assert (state.version, state.applied_at, state.error, state.unreported) == ("", None, "", 0)
        assert not await world.edge.verify("a", "")


@pytest.mark.parametrize("seconds", [0, -1, "10"])
def test_report_seconds_that_are_no_positive_number_are_refused(seconds: Any) -> None:
    with pytest.raises(te.ConfigurationError, match=r"Edge\(report_seconds=.*\) must be a number above 0"):
        make_edge(te.MemoryControl(), report_seconds=seconds)


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ([], "names no address"),
        (["tcp://127.0.0.1:6380", "tcp://[::1]:6380", "tcp://127.0.0.1:6380"], "tcp://127.0.0.1:6380 twice"),
        (["unix:///run/edge.sock"] * 2, "unix:///run/edge.sock twice"),
    ],
)
def test_an_empty_or_repeated_listen_is_refused(listen: list[str], message: str) -> None:
    with pytest.raises(te.ConfigurationError, match=message):
        te.Edge(listen, [], te.Forward("tcp://192.0.2.9:1"))


async def test_an_edge_whose_policies_may_name_listeners_needs_none_of_its_own(autojump_clock: object) -> None:
    edge = te.Edge([], [], te.Forward(), control=te.MemoryControl(), open_ports="tcp://0.0.0.0:20000-29999")
    assert (edge.listen, str(edge.open_ports)) == ((), "tcp://0.0.0.0:20000-29999")
    async with open_edge(edge):
        assert edge.addresses == ()
    with pytest.raises(te.ConfigurationError, match="it listens on no address of its own"):
        te.Edge(
            [], [te.Identify({"tcp://127.0.0.1:1": "a"})], te.Forward(), control=te.MemoryControl(),
            open_ports="tcp://0.0.0.0:1",
        )  # fmt: skip


def test_two_ports_may_be_left_to_the_system() -> None:
    assert len(te.Edge(["tcp://127.0.0.1:0"] * 2, [], te.Forward("tcp://192.0.2.9:1")).listen) == 2


async def test_a_plan_without_a_control_plane_is_refused(autojump_clock: MockClock) -> None:
    async with open_edge(te.Edge("tcp://127.0.0.1:0", [te.Pacing("1 MB/s")], te.Forward("tcp://192.0.2.9:1"))) as world:
        await exchange(await world.connect())
        with pytest.raises(te.ConfigurationError, match="an edge without control="):
            await world.edge.plan(te.Snapshot({}))


async def test_one_control_plane_serves_two_edges_at_once(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy())
    first, second = (te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.9:1"), control=control) for _ in "12")
    async with open_edge(first):
        async with open_edge(second):
            await control.put("b", te.Policy())
            assert [list(edge.services) for edge in (first, second)] == [["a", "b"]] * 2
        await control.put("c", te.Policy())
        assert [list(edge.services) for edge in (first, second)] == [["a", "b", "c"], ["a", "b"]]


async def test_one_recipe_serves_two_edges_at_once_and_each_has_counts_of_its_own(autojump_clock: MockClock) -> None:
    stages = [te.Identify("a"), te.SessionGate(rate=1, burst=1), te.ConcurrencyLimit(1)]
    first, second = (te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:1")) for _ in "12")
    async with open_edge(first) as one, open_edge(second) as other:
        for world in (one, other):
            await exchange(await world.connect())
            assert (await world.connect()).outcome == te.Reject(
                te.Reason.RATE, "more than 1 session a second per service"
            )


async def test_an_edge_that_serves_cannot_be_served_again_and_loses_nothing_by_the_try(
    autojump_clock: MockClock,
) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.9:1"))
    async with open_edge(edge) as world:
        with pytest.raises(RuntimeError, match="serving already"):
            await edge.serve()
        await exchange(await world.connect())
