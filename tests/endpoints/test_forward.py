"""What Forward promises a session, over real sockets; every await of it is cancelled in tests/runtime/test_serve.py."""

import pytest
import trio
import trio.testing

import trioedge as te
from tests.runtime.test_connector import closed_port, deaf_port
from tests.wires import connect, echo, edge_to, receive_all, receive_exactly, server, serving


@te.middleware
async def read_ahead(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """Read the client's first bytes and give them back, as a stage that peeks does."""
    session.stream.unread(await session.stream.receive_some(4))
    return await call_next(session)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"destination": "127.0.0.1:1"}, "must begin with tcp://"),
        ({"destination": "tcp://127.0.0.1:0"}, "nothing answers on port 0"),
        ({"destination": "tcp://127.0.0.1:1", "preconnect": -1}, r"preconnect=-1"),
        ({"destination": "tcp://127.0.0.1:1", "preconnect": 1.5}, r"preconnect=1.5"),
        ({"destination": "tcp://127.0.0.1:1", "connect_seconds": 0}, r"connect_seconds=0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(te.ConfigurationError, match=message):
        te.Forward(**arguments)  # type: ignore[arg-type]


async def test_bytes_that_a_middleware_gave_back_reach_the_upstream_first() -> None:
    async with server(echo) as port, serving(edge_to(port, read_ahead)) as edge_port:
        async with await connect(edge_port) as client:
            await client.send_all(b"head and body")
            assert await receive_exactly(client, 13) == b"head and body"


@pytest.mark.parametrize("stages", [[], [read_ahead]], ids=["without a task", "with a task"])
async def test_an_upstream_that_is_not_there_ends_the_session_with_its_reason(stages: list[object]) -> None:
    edge = edge_to(closed_port(), *stages)
    async with serving(edge) as edge_port, await connect(edge_port) as client:
        await client.send_all(b"ping")
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(client)
        await trio.testing.wait_all_tasks_blocked()
        assert edge.statistics().ended == {te.Reason.UPSTREAM_REFUSED: 1}


async def test_an_upstream_that_does_not_answer_ends_it_within_the_limit() -> None:
    async with deaf_port() as port:
        edge = edge_to(port, connect_seconds=0.2)
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            began = trio.current_time()
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
            assert 0.2 <= trio.current_time() - began < 1
            assert edge.statistics().ended == {te.Reason.UPSTREAM_TIMEOUT: 1}


async def test_a_session_takes_an_idle_connection_and_connects_by_itself_when_there_is_none() -> None:
    accepted = 0

    async def count(connection: trio.SocketStream) -> None:
        nonlocal accepted
        accepted += 1
        await echo(connection)

    async with server(count) as port, serving(edge_to(port, preconnect=2)) as edge_port:
        with trio.fail_after(5):
            while accepted < 2:
                await trio.sleep(0.001)
        clients = [await connect(edge_port) for _ in range(6)]
        for number, client in enumerate(clients):
            await client.send_all(b"%d" % number)
        for number, client in enumerate(clients):
            assert await receive_exactly(client, 1) == b"%d" % number
        with trio.fail_after(5):
            while accepted < 8:  # six sessions, and two ready again
                await trio.sleep(0.001)
        for client in clients:
            await client.aclose()


async def test_an_upstream_that_speaks_first_is_heard_with_and_without_preconnect() -> None:
    async def greet(connection: trio.SocketStream) -> None:
        await connection.send_all(b"220 welcome\r\n")
        await echo(connection)

    for preconnect in (0, 2):
        async with server(greet) as port, serving(edge_to(port, preconnect=preconnect)) as edge_port:
            await trio.sleep(0.02)
            for _ in range(3):
                async with await connect(edge_port) as client:
                    assert await receive_exactly(client, 13) == b"220 welcome\r\n"


async def test_an_upstream_that_answers_and_hangs_up_at_once_is_heard() -> None:
    async def brief(connection: trio.SocketStream) -> None:
        await connection.send_all(b"bye")

    async with server(brief) as port, serving(edge_to(port)) as edge_port:
        for _ in range(20):
            async with await connect(edge_port) as client:
                assert await receive_all(client) == b"bye"
