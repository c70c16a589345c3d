"""Edges in front of members over real sockets."""

from collections import Counter

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.members import address, balanced_edge, member_of, members, quiet
from tests.support.middlewares import read_ahead, wrap
from tests.support.ports import closed_port
from tests.support.wires import connect, receive_exactly, server, serving, silent

DRIVERS = pytest.mark.parametrize("stages", [[], [read_ahead], [wrap]], ids=["no task", "a task", "wrapped"])


def states(edge: te.Edge) -> list[str]:
    return [each.state for each in edge.statistics().members]


@pytest.mark.parametrize("stages", [[], [wrap]], ids=["no task", "wrapped"])
@pytest.mark.parametrize("policy", ["round_robin", "least_sessions"])
async def test_sessions_that_come_one_at_a_time_spread_over_the_members(policy: str, stages: list[object]) -> None:
    async with members(3) as ports, serving(balanced_edge(ports, policy, *stages)) as port:
        assert Counter([await member_of(port) for _ in range(9)]) == {0: 3, 1: 3, 2: 3}


async def test_live_sessions_spread_by_weight() -> None:
    async with members(2) as ports:
        weighted: list[int | te.Member] = [te.Member(address(ports[0]), weight=3), ports[1]]
        edge = balanced_edge(weighted, "least_sessions")
        async with serving(edge) as port:
            clients = [await connect(port) for _ in range(8)]
            for client in clients:
                await receive_exactly(client, 1)
            assert [each.live for each in edge.statistics().members] == [6, 2]
            for client in clients:
                await client.aclose()
            await quiet(edge)
            assert [(each.live, each.opened) for each in edge.statistics().members] == [(0, 6), (0, 2)]


async def test_the_sessions_of_one_source_go_to_one_member() -> None:
    async with members(4) as ports, serving(balanced_edge(ports, "source_hash")) as port:
        chosen = {}
        for number in range(1, 13):
            chosen[number] = {await member_of(port, f"127.0.0.{number}") for _ in range(3)}
        assert all(len(each) == 1 for each in chosen.values())
        assert len(set.union(*chosen.values())) > 1


async def test_a_member_that_is_down_gets_no_sessions_after_some_failures_and_no_session_fails() -> None:
    async with members(1) as ports:
        edge = balanced_edge([closed_port(), *ports], max_failures=2)
        async with serving(edge) as port:
            with capture_logs() as logs:
                assert [await member_of(port) for _ in range(10)] == [0] * 10
            dead, live = edge.statistics().members
            assert (dead.state, dead.weight, dead.live, dead.opened, dead.failed) == ("ejected", 0, 0, 2, 2)
            assert (live.state, live.weight, live.failed) == ("well", 1, 0)
            (line,) = [each for each in logs if each["event"] == "member ejected"]
            assert (line["upstream"], line["reason"]) == (dead.address, "upstream_refused")


async def test_a_backup_takes_over_and_gives_back() -> None:
    async with members(2) as ports:
        spare = te.Member(address(ports[1]), backup=True)
        edge = balanced_edge([ports[0], spare])
        async with serving(edge) as port:
            assert {await member_of(port) for _ in range(3)} == {0}
        edge = balanced_edge([closed_port(), spare], max_failures=1)
        async with serving(edge) as port:
            assert {await member_of(port) for _ in range(3)} == {1}


async def test_a_draining_member_keeps_its_sessions_and_gets_no_new_ones() -> None:
    async with members(2) as ports:
        balanced = te.Balanced([address(each) for each in ports], "round_robin")
        edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(balanced))
        async with serving(edge) as port, await connect(port) as client:
            drained = int(await receive_exactly(client, 1))
            balanced.drain(address(ports[drained]))
            assert {await member_of(port) for _ in range(4)} == {1 - drained}
            assert states(edge)[drained] == "draining"
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
            balanced.restore(address(ports[drained]))
            assert {await member_of(port) for _ in range(4)} == {0, 1}


@DRIVERS
async def test_if_every_member_drains_sessions_are_refused_with_the_reason(stages: list[object]) -> None:
    edge = balanced_edge([te.Member(address(closed_port()), drain=True)], "round_robin", *stages)
    async with serving(edge) as port:
        async with await connect(port) as client:
            await client.send_all(b"ping")
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some(1)
        await quiet(edge)
        assert edge.statistics().refused == {te.Reason.UPSTREAM_UNREACHABLE: 1}


async def test_a_member_that_returns_is_used_again_behind_its_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioedge.upstreams.balancing.health.FIRST_PAUSE_SECONDS", 0.05)
    port_of_dead = closed_port()
    async with members(1) as ports:
        edge = balanced_edge([port_of_dead, *ports], max_failures=1, slow_seconds=0)
        async with serving(edge) as port, trio.open_nursery() as nursery:
            assert {await member_of(port) for _ in range(4)} == {0}
            assert states(edge) == ["ejected", "well"]

            async def answer(connection: trio.SocketStream) -> None:
                async with connection:
                    await connection.send_all(b"9")
                    await connection.receive_some(1)

            listeners = await trio.open_tcp_listeners(port_of_dead, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, answer, listeners)
            with trio.fail_after(5):
                while await member_of(port) != 9:
                    await trio.sleep(0.005)
            nursery.cancel_scope.cancel()


async def test_idle_connections_are_kept_to_each_member() -> None:
    accepted: Counter[int] = Counter()

    def counting(number: int) -> object:
        async def count(connection: trio.SocketStream) -> None:
            accepted[number] += 1
            await silent(connection)

        return count

    async with server(counting(0)) as one, server(counting(1)) as two:  # type: ignore[arg-type]
        edge = balanced_edge([one, two], forward={"preconnect": 2})
        async with serving(edge):
            with trio.fail_after(5):
                while accepted != {0: 2, 1: 2}:
                    await trio.sleep(0.001)


async def test_an_edge_before_itself_is_refused() -> None:
    port = closed_port()
    edge = te.Edge(f"tcp://127.0.0.1:{port}", [], te.Forward(te.Balanced([address(closed_port()), address(port)])))
    fault = pytest.RaisesExc(te.ConfigurationError, match=f"goes to {address(port)}, where this edge itself listens")
    with pytest.RaisesGroup(fault, flatten_subgroups=True):
        await edge.serve()


async def test_checks_eject_a_member_that_no_session_asked_and_bring_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trioedge.upstreams.balancing.health.FIRST_PAUSE_SECONDS", 0.02)
    dead = closed_port()
    async with members(1) as ports:
        edge = balanced_edge([dead, *ports], check="connect", check_seconds=0.1, max_failures=2, slow_seconds=0)
        with capture_logs() as logs:
            async with serving(edge), trio.open_nursery() as nursery:
                await state_of_first(edge, "ejected")
                listeners = await trio.open_tcp_listeners(dead, host="127.0.0.1")
                nursery.start_soon(trio.serve_listeners, silent, listeners)
                await state_of_first(edge, "well", "returning")
                nursery.cancel_scope.cancel()
        said = [(each["event"], each["upstream"]) for each in logs if each["event"].startswith("member")]
        assert said == [("member ejected", address(dead)), ("member is back", address(dead))]
        assert edge.statistics().members[0].failed == 0  # no session's connect


async def state_of_first(edge: te.Edge, *expected: str) -> None:
    with trio.fail_after(5):
        while states(edge)[0] not in expected:
            await trio.sleep(0.005)
