"""The listeners of a run, from the beginning to the end: its own first, then those of services."""

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.ports import closed_port
from trioedge.testing import open_edge


def edge_with(control: te.MemoryControl, *own: str) -> te.Edge:
    return te.Edge(
        own, [], te.Forward(allow=["loopback"]), control=control, open_ports="tcp://127.0.0.1:1-65535", drain_seconds=0
    )


def policy(*ports: int) -> te.Policy:
    return te.Policy(listen=tuple(f"tcp://127.0.0.1:{port}" for port in ports), destination="tcp://127.0.0.1:1")


async def test_an_edge_says_where_it_listens_and_how_many_listeners_its_services_have() -> None:
    ports = [closed_port(), closed_port()]
    edge = edge_with(te.MemoryControl({"shop": policy(*ports)}), "tcp://127.0.0.1:0")
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            own, *others = edge.addresses
            assert others == [f"tcp://127.0.0.1:{port}" for port in ports]
            edge.drain()
    (line,) = [each for each in logs if each["event"] == "listening"]
    assert (line["addresses"], line["of_services"]) == ([own], 2)


async def test_an_edge_that_drains_before_its_first_snapshot_opens_no_listener_of_a_service() -> None:
    class Slow:
        async def run(self, link: te.Link, *, task_status: trio.TaskStatus[None]) -> None:
            await trio.sleep(0.05)
            edge.drain()
            await link.apply(te.Snapshot({"shop": te.Settings(policy(port))}))
            task_status.started()
            await trio.sleep_forever()

    port = closed_port()
    edge = te.Edge([], [], te.Forward(), control=Slow(), open_ports="tcp://127.0.0.1:1-65535")
    with capture_logs() as logs:
        await edge.serve()
    assert "listening" not in [each["event"] for each in logs]
    with pytest.raises(OSError, match="all attempts"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_a_cancel_whenever_it_comes_leaves_no_listener_open() -> None:
    """Some ninety times, each with sockets of its own: a quarter of a second."""
    port, other = closed_port(), closed_port()
    control = te.MemoryControl({"shop": policy(port)})
    edge = edge_with(control)

    async def live() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            await control.put("cafe", policy(other))
            edge.drain()
        await control.remove("cafe")

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before
        assert not edge.addresses

    assert await cancel_at_every_step(live, check) > 20


async def test_a_policy_with_a_listener_that_is_the_edges_own_is_a_fault() -> None:
    control = te.MemoryControl({"shop": policy()})
    edge = edge_with(control, "tcp://127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        (own,) = edge.addresses
        with pytest.raises(te.SnapshotError) as refused:
            await control.put("cafe", te.Policy(listen=(own,)))
        assert str(refused.value) == (
            f"services.cafe.listen[0] = '{own}' is {own}, where the edge itself listens: choose another port"
        )
        edge.drain()


async def test_a_part_sees_the_listeners_of_services_in_its_context() -> None:
    seen: list[list[str]] = []

    class Looks:
        kind = "decision"

        def open(self, context: te.EdgeContext) -> "Looks":
            self.context = context
            return self

        def decide(self, session: te.Session) -> te.Verdict:
            seen.append([*self.context.listeners])
            return te.CONTINUE

    control = te.MemoryControl({"shop": policy(20_001)})
    edge = te.Edge([], [Looks()], te.Forward(), control=control, open_ports="tcp://127.0.0.1:20000-29999")
    async with open_edge(edge) as world:
        await world.connect(listener="tcp://127.0.0.1:20001")
        await control.put("cafe", policy(20_002))
        await world.connect(listener="tcp://127.0.0.1:20002")
    assert seen == [["tcp://127.0.0.1:20001"], ["tcp://127.0.0.1:20001", "tcp://127.0.0.1:20002"]]
