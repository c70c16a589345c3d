"""Outbounds by name: refused when they are wrong, and used by the policies that name them."""

import re
from typing import Any

import attrs
import pytest
import trio

import trioedge as te
from tests.support.members import address, member_of, members
from tests.support.middlewares import read_ahead, wrap
from tests.support.ports import closed_port
from tests.support.wires import connect, receive_exactly, server, serving


@attrs.define
class Tunnel:
    """An outbound that notes what it is asked for, as a recipe and as its live outbound."""

    asked: list[str] = attrs.field(factory=list)
    ran: int = 0
    closed: int = 0

    def open(self, context: te.EdgeContext) -> "LiveTunnel":
        return LiveTunnel(self)


@attrs.define
class LiveTunnel:
    recipe: Tunnel

    async def connect(self, address: te.Address) -> trio.SocketStream:
        self.recipe.asked.append(str(address))
        return await trio.open_tcp_stream(address.host, address.port)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.recipe.ran += 1
        task_status.started()

    def close(self) -> None:
        self.recipe.closed += 1


def edge_with(outbounds: Any, *stages: object, **services: te.Policy) -> te.Edge:
    return te.Edge(
        "tcp://127.0.0.1:0",
        [te.Identify("shop"), *stages],
        te.Forward(allow=["loopback"], retries=0),
        control=te.MemoryControl(services),
        outbounds=outbounds,
    )


async def echoes(port: int) -> bool:
    async with await connect(port) as client:
        try:
            await client.send_all(b"ping")
            return await receive_exactly(client, 4) == b"ping"
        except (trio.BrokenResourceError, AssertionError):
            return False


@pytest.mark.parametrize(
    ("outbounds", "fault"),
    [
        (["tunnel"], "Edge(outbounds=['tunnel']) must be a dict of outbounds by name"),
        ({"tcp://a": te.Direct()}, "Edge(outbounds=…) has the name 'tcp://a': write a letter"),
        ({7: te.Direct()}, "Edge(outbounds=…) has the name 7"),
        ({"tunnel": 7}, "Edge(outbounds['tunnel'] = 7 is no outbound: it needs async connect(address)"),
        ({"tunnel": te.Direct}, "Edge(outbounds['tunnel'] is a class, not an outbound: call it, Direct(...)"),
    ],
)
def test_wrong_outbounds_are_refused_by_name(outbounds: Any, fault: str) -> None:
    with pytest.raises(te.ConfigurationError, match=re.escape(fault)):
        edge_with(outbounds)


def test_outbounds_that_no_policy_can_name_are_refused() -> None:
    outbounds = {"tunnel": Tunnel()}
    with pytest.raises(te.ConfigurationError, match="has no control plane, whose policies name them"):
        te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.1:80"), outbounds=outbounds)
    with pytest.raises(te.ConfigurationError, match="has an endpoint that does not go by policies"):
        te.Edge(
            "tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.1:80"), control=te.MemoryControl({}), outbounds=outbounds
        )


async def test_a_policy_with_an_unknown_outbound_is_refused_whole_and_every_fault_named() -> None:
    edge = edge_with({"tunnel": Tunnel()}, shop=te.Policy())
    async with serving(edge):
        bad = {
            "a": te.Policy(outbound="tunel"),
            "b": te.Policy(destination="tcp://192.0.2.1:80", outbound="tunnel", preconnect=2),
        }
        assert isinstance(edge.control, te.MemoryControl)
        settings = {name: te.Settings(policy) for name, policy in bad.items()}
        with pytest.raises(te.SnapshotError) as raised:
            await edge.control.apply(te.Snapshot(settings, full=False))
        assert len(list(raised.value.faults)) == 2
        assert list(edge.services) == ["shop"]


@pytest.mark.parametrize("stages", [[], [read_ahead], [wrap]], ids=["no task", "a task", "wrapped"])
async def test_each_service_goes_its_own_way_and_a_change_of_the_way_is_for_new_sessions(stages: list[object]) -> None:
    one, two = Tunnel(), Tunnel()
    async with server() as port:
        to = address(port)
        edge = edge_with({"one": one, "two": two}, *stages, shop=te.Policy(destination=to, outbound="one"))
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
            assert isinstance(edge.control, te.MemoryControl)
            plan = await edge.control.put("shop", te.Policy(destination=to, outbound="two"))
            assert plan.evicted == 0
            assert await echoes(edge_port)
            assert (one.asked, two.asked) == ([to], [to])
            await edge.control.put("shop", te.Policy(destination=to))
            assert await echoes(edge_port)
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
        assert (one.asked, two.asked) == ([to], [to])
    assert (one.ran, one.closed, two.ran, two.closed) == (1, 1, 1, 1)


async def test_what_a_stage_names_goes_the_way_of_the_policy() -> None:
    tunnel = Tunnel()
    async with server() as port:

        @te.decision(provides=("destination",))
        def route(session: te.Session) -> te.Verdict:
            session.destination = address(port)
            return te.CONTINUE

        async with serving(edge_with({"tunnel": tunnel}, route, shop=te.Policy(outbound="tunnel"))) as edge_port:
            assert await echoes(edge_port)
    assert tunnel.asked == [address(port)]


async def test_addresses_are_judged_on_every_way() -> None:
    tunnel = Tunnel()
    edge = edge_with({"tunnel": tunnel}, shop=te.Policy(destination="tcp://10.0.0.1:80", outbound="tunnel"))
    async with serving(edge) as port:
        assert not await echoes(port)
        assert edge.statistics().ended == {te.Reason.UPSTREAM_FORBIDDEN: 1}
    assert tunnel.asked == []


@pytest.mark.parametrize("stages", [[], [read_ahead], [wrap]], ids=["no task", "a task", "wrapped"])
async def test_a_balanced_outbound_is_the_destination_of_the_policies_that_name_it(stages: list[object]) -> None:
    async with members(2) as ports:
        cluster = te.Balanced(map(address, ports), "round_robin")
        edge = edge_with({"cluster": cluster}, *stages, shop=te.Policy(outbound="cluster"))
        async with serving(edge) as port:
            if stages:
                async with await connect(port) as client:
                    await client.send_all(b"ping")
                    assert (await receive_exactly(client, 5))[1:] == b"ping"
            else:
                assert {await member_of(port) for _ in range(4)} == {0, 1}
            counts = edge.statistics().members
            assert [each.group for each in counts] == ["cluster"] * 2
            assert sum(each.opened for each in counts) == (1 if stages else 4)
            assert isinstance(edge.control, te.MemoryControl)
            await edge.control.put("shop", te.Policy())
            assert not await echoes(port)
            assert edge.statistics().refused == {te.Reason.SERVICE: 1}


async def test_a_balanced_outbound_that_leads_to_the_edge_itself_is_refused() -> None:
    port = closed_port()
    edge = te.Edge(
        address(port), [], te.Forward(), control=te.MemoryControl({}), outbounds={"x": te.Balanced([address(port)])}
    )
    fault = pytest.RaisesExc(te.ConfigurationError, match="where this edge itself listens")
    with pytest.RaisesGroup(fault, flatten_subgroups=True):
        await edge.serve()


async def test_outbounds_are_closed_if_one_of_them_cannot_be_opened() -> None:
    class Broken:
        def open(self, context: te.EdgeContext) -> Any:
            raise LookupError("no tunnel")

    tunnel = Tunnel()
    edge = edge_with({"tunnel": tunnel, "broken": Broken()}, shop=te.Policy())
    with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
        await edge.serve()
    assert (tunnel.ran, tunnel.closed) == (0, 1)
