"""How Forward treats its upstream over real sockets: retries, and idle connections that are replaced."""

import socket
from contextlib import closing

import pytest
import trio

from tests.support.middlewares import read_ahead, wrap
from tests.support.ports import closed_port
from tests.support.wires import connect, echo, edge_to, receive_exactly, server, serving
from trioedge.upstreams import attempt
from trioedge.upstreams.pool import pace


@pytest.mark.parametrize("stages", [[], [read_ahead], [wrap]], ids=["without a task", "with a task", "wrapped"])
async def test_clients_of_an_upstream_that_refuses_for_a_moment_are_all_served(
    stages: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "RETRY_SECONDS", 0.02)
    port = closed_port()
    edge = edge_to(port, *stages)
    served = []

    async def client(edge_port: int) -> None:
        async with await connect(edge_port) as connection:
            await connection.send_all(b"ping")
            served.append(await receive_exactly(connection, 4))

    async def answer(connection: trio.SocketStream) -> None:
        async with connection:
            await echo(connection)

    async with serving(edge) as edge_port, trio.open_nursery() as clients:
        for _ in range(10):
            clients.start_soon(client, edge_port)
        with trio.fail_after(5):
            while len(edge.sessions) < 10:
                await trio.sleep(0.001)
        await trio.sleep(0.03)  # one retry is in vain
        assert served == []
        listener = socket.create_server(("127.0.0.1", port), backlog=64)
        with closing(listener):
            listener.setblocking(False)
            with trio.socket.from_stdlib_socket(listener) as accepting, trio.fail_after(5):
                for _ in range(10):
                    connection, _ = await accepting.accept()
                    clients.start_soon(answer, trio.SocketStream(connection))
                while len(served) < 10:
                    await trio.sleep(0.001)
    assert served == [b"ping"] * 10


async def test_an_idle_connection_is_replaced_when_the_session_that_took_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "TOP_UP_SECONDS", 1000.0)  # so that nothing else replaces it
    accepted = 0

    async def count(connection: trio.SocketStream) -> None:
        nonlocal accepted
        accepted += 1
        await echo(connection)

    async def until(number: int) -> None:
        with trio.fail_after(5):
            while accepted < number:
                await trio.sleep(0.001)

    async with server(count) as port, serving(edge_to(port, preconnect=4)) as edge_port:
        await until(4)
        for number in range(1, 4):
            async with await connect(edge_port) as client:
                await client.send_all(b"ping")
                assert await receive_exactly(client, 4) == b"ping"
                await trio.sleep(0.02)
                assert accepted == 3 + number
            await until(4 + number)
