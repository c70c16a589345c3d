"""A session's place at a member: other members, time, cancels and counts."""

import socket
from contextlib import closing
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.cancels import cancelled_before, left_open
from tests.support.members import address, balanced_edge, member_of, members, open_balanced, quiet
from tests.support.middlewares import read_ahead, wrap
from tests.support.ports import closed_port, deaf_port
from tests.support.tls import client_context, server_context
from tests.support.wires import connect, receive_exactly, server, serving
from trioedge.relay.stream_relay import close_hard
from trioedge.testing import make_session
from trioedge.upstreams import attempt
from trioedge.upstreams.balancing.seat import Seat
from trioedge.upstreams.upstream import Upstream

DRIVERS = pytest.mark.parametrize("stages", [[], [read_ahead], [wrap]], ids=["no task", "a task", "wrapped"])


async def ended(edge: te.Edge, port: int) -> dict[te.Reason, int]:
    """Have one session that says something and waits for its end, and give how sessions ended."""
    async with await connect(port) as client:
        await client.send_all(b"ping")
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some(1)
    await quiet(edge)
    return dict(edge.statistics().ended)


@DRIVERS
async def test_a_session_whose_member_refuses_goes_to_another_one_with_the_bytes_it_sent(stages: list[object]) -> None:
    async with members(1) as ports:
        edge = balanced_edge([closed_port(), closed_port(), *ports], "round_robin", *stages)
        async with serving(edge) as port:
            for _ in range(3):
                async with await connect(port) as client:
                    await client.send_all(b"ping")
                    assert await receive_exactly(client, 5) == b"0ping"
            (session,) = edge.sessions or [None]
            assert session is None or str(session.upstream) == address(ports[0])
        assert [each.live for each in edge.statistics().members] == [0, 0, 0]


@DRIVERS
async def test_a_session_asks_as_many_members_as_it_may_and_ends_with_the_last_error(stages: list[object]) -> None:
    edge = balanced_edge([closed_port() for _ in range(4)], "round_robin", *stages, tries=2, max_failures=9)
    async with serving(edge) as port:
        assert await ended(edge, port) == {te.Reason.UPSTREAM_REFUSED: 1}
        assert sum(each.failed for each in edge.statistics().members) == 2
        assert [each.live for each in edge.statistics().members] == [0] * 4


@DRIVERS
async def test_a_member_that_does_not_answer_has_its_seconds_and_another_one_the_rest(stages: list[object]) -> None:
    async with members(1) as ports, deaf_port() as deaf:
        edge = balanced_edge([deaf, *ports], "round_robin", *stages, try_seconds=0.05)
        async with serving(edge) as port:
            with trio.fail_after(4):
                for _ in range(2):
                    async with await connect(port) as client:
                        await client.send_all(b"ping")
                        assert await receive_exactly(client, 5) == b"0ping"
            assert edge.statistics().members[0].failed == 1


@DRIVERS
async def test_all_members_together_have_the_seconds_of_the_endpoint(stages: list[object]) -> None:
    async with deaf_port() as one, deaf_port() as two:
        edge = balanced_edge([one, two], "round_robin", *stages, try_seconds=0.1, forward={"connect_seconds": 0.3})
        async with serving(edge) as port:
            began = trio.current_time()
            assert await ended(edge, port) == {te.Reason.UPSTREAM_TIMEOUT: 1}
            assert 0.29 < trio.current_time() - began < 2
            assert [each.failed for each in edge.statistics().members] == [1, 1]


async def test_the_last_member_is_retried_as_the_endpoint_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "RETRY_SECONDS", 0.02)
    one, two = closed_port(), closed_port()
    edge = balanced_edge([one, two], forward={"retries": 5})
    async with serving(edge) as port, await connect(port) as client:
        await trio.sleep(0.03)
        with closing(socket.create_server(("127.0.0.1", one))), closing(socket.create_server(("127.0.0.1", two))):
            with trio.fail_after(5):
                while not [each for each in edge.sessions if each.phase == "relaying"]:
                    await trio.sleep(0.001)
        assert sorted(each.failed for each in edge.statistics().members) == [0, 1]
        assert client


@DRIVERS
async def test_a_session_that_is_cut_while_it_connects_leaves_its_member(stages: list[object]) -> None:
    async with deaf_port() as deaf:
        edge = balanced_edge([deaf, closed_port()], "round_robin", *stages, max_failures=9)
        async with serving(edge) as port, await connect(port) as client:
            await client.send_all(b"ping")
            with trio.fail_after(5):
                while edge.statistics().members[0].live != 1:
                    await trio.sleep(0.001)
            assert edge.evict(source="127.0.0.1") == 1
            await quiet(edge)
            assert [each.live for each in edge.statistics().members] == [0, 0]
            assert edge.statistics().ended == {te.Reason.EVICTED: 1}


async def test_a_connect_to_another_member_that_raises_ends_the_session_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edge = balanced_edge([closed_port(), closed_port()], max_failures=9)
    real, calls = Upstream.start, 0

    def start(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise MemoryError("epoll")
        return real(*arguments)

    monkeypatch.setattr(Upstream, "start", start)
    async with serving(edge) as port:
        assert await ended(edge, port) == {te.Reason.FAULT: 1}
        assert await ended(edge, port) == {te.Reason.FAULT: 1, te.Reason.UPSTREAM_REFUSED: 1}
        assert [each.live for each in edge.statistics().members] == [0, 0]


@DRIVERS
async def test_a_session_whose_member_fails_in_its_tls_handshake_goes_to_another_one(stages: list[object]) -> None:
    async def over_tls(connection: trio.SocketStream) -> None:
        stream = trio.SSLStream(connection, server_context(), server_side=True)
        await stream.send_all(await stream.receive_some(4))

    async with members(1) as without_tls, server(over_tls) as good:
        direct = te.Direct(tls=client_context(), server_name="localhost")
        edge = balanced_edge([*without_tls, good], "round_robin", *stages, forward={"outbound": direct})
        async with serving(edge) as port:
            for _ in range(2):
                async with await connect(port) as client:
                    await client.send_all(b"ping")
                    assert await receive_exactly(client, 4) == b"ping"
            assert [each.failed for each in edge.statistics().members] == [1, 0]


class OutOfFiles:
    """An outbound whose connects fail because of this machine."""

    async def connect(self, address: te.Address) -> trio.SocketStream:
        raise te.UpstreamError(te.Reason.OVERLOAD, f"{address}: no file descriptor is left")


async def test_a_fault_of_this_machine_is_no_failure_of_a_member() -> None:
    edge = balanced_edge([1, 2], forward={"outbound": OutOfFiles()})
    async with serving(edge) as port:
        assert await ended(edge, port) == {te.Reason.OVERLOAD: 1}
        assert [each.failed for each in edge.statistics().members] == [0, 0]
        assert sum(each.opened for each in edge.statistics().members) == 1


async def test_sessions_through_an_outbound_that_connects_in_a_task_take_turns_too() -> None:
    class Own:
        async def connect(self, address: te.Address) -> trio.SocketStream:
            return await trio.open_tcp_stream(address.host, address.port)

    async with members(2) as ports:
        async with serving(balanced_edge(ports, forward={"outbound": Own()})) as port:
            assert [await member_of(port) for _ in range(4)] in ([0, 1, 0, 1], [1, 0, 1, 0])


async def test_a_cancel_at_every_step_of_a_connect_leaves_nothing_open() -> None:
    async with members(1) as ports, open_balanced([closed_port(), *ports], max_failures=1000) as balanced:
        before = left_open()
        opened = 0

        async def connect_and_close() -> None:
            nonlocal opened
            session = make_session()
            seat = balanced.seat(session)
            assert isinstance(seat, Seat)
            stream = await seat.open_stream(session)
            opened += 1
            await close_hard(stream)

        async def settle() -> None:
            with trio.fail_after(5):
                while left_open() != before:
                    await trio.sleep(0.001)  # the member notices later

        for step in range(1, 100):
            if not await cancelled_before(step, connect_and_close):
                break
            await settle()
        await settle()
        assert step > 3
        assert opened >= 1
