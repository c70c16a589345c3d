"""The demo's client of SOCKS: its questions, and the words that it hears."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.wires import server, silent
from trioedge.cli.demo import socks_client, socks_edge
from trioedge.cli.demo.upstream import DemoServer
from trioedge.cli.demo.view import Lines


@pytest.fixture
def clock() -> trio.testing.MockClock:
    """A clock that jumps once loopback has been quiet for 30 ms: the client has real sockets."""
    return trio.testing.MockClock(autojump_threshold=0.03)


class Notes(Lines):
    """A view that keeps the notes with their times."""

    def __init__(self) -> None:
        super().__init__()
        self.began = trio.current_time()
        self.kept: list[tuple[float, str]] = []

    def note(self, text: str) -> None:
        self.kept.append((round(trio.current_time() - self.began, 1), text))


@asynccontextmanager
async def at_work() -> AsyncIterator[tuple[int, int]]:
    """Serve the upstream and the SOCKS edge; give the port of the edge and that of the upstream."""
    async with trio.open_nursery() as nursery:
        upstream: int = await nursery.start(DemoServer().run)
        edge = socks_edge.build("tcp://127.0.0.1:0")
        await nursery.start(edge.serve)
        yield int(edge.addresses[0].rpartition(":")[2]), upstream
        nursery.cancel_scope.cancel()


async def test_a_good_login_reaches_the_upstream() -> None:
    async with at_work() as (port, upstream):
        assert await socks_client.ask(port, "127.0.0.1", upstream) == "succeeded, HTTP/1.1 200 OK"


async def test_a_wrong_password_is_told() -> None:
    async with at_work() as (port, upstream):
        assert await socks_client.ask(port, "127.0.0.1", upstream, "guess") == "wrong password"


async def test_an_address_that_is_not_of_this_machine_is_not_allowed() -> None:
    async with at_work() as (port, _):
        assert await socks_client.ask(port, socks_client.DENIED, 80) == "not allowed"


async def test_a_port_on_which_nothing_listens_is_told_to_be_refused() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with at_work() as (port, _):
            assert await socks_client.ask(port, *closed.getsockname()) == "connection refused"


@pytest.mark.parametrize("answers", [b"", b"\5", b"\5\2\1", b"\5\2\1\0\5\0\0\1"])
async def test_an_edge_that_closes_in_the_middle_gave_no_answer(answers: bytes) -> None:
    async def some(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answers)

    async with server(some) as port:
        assert await socks_client.ask(port, "127.0.0.1", 80) == "no answer"


async def test_nothing_that_listens_is_no_answer() -> None:
    async with server() as port:
        pass
    assert await socks_client.ask(port, "127.0.0.1", 80) == "no answer"


async def test_a_code_without_words_is_told_as_a_number() -> None:
    async def unreachable(stream: trio.SocketStream) -> None:
        for answer in (b"\5\2", b"\1\0", b"\5\4\0\1" + bytes(6)):
            await stream.receive_some()
            await stream.send_all(answer)

    async with server(unreachable) as port:
        assert await socks_client.ask(port, "127.0.0.1", 80) == "code 4"


async def test_three_destinations_are_asked_for_every_six_seconds(clock: trio.testing.MockClock) -> None:
    async with at_work() as (port, upstream):
        view = Notes()
        with trio.move_on_after(10):
            await socks_client.run(port, upstream, view)
    said = [
        "SOCKS: alice logs in and asks for the upstream: succeeded, HTTP/1.1 200 OK",
        "SOCKS: alice logs in and asks for 169.254.169.254: not allowed",
        "SOCKS: alice logs in and asks for a closed port: connection refused",
    ]
    assert [text for _, text in view.kept] == said * 2
    assert [at for at, _ in view.kept] == pytest.approx([3, 3.4, 3.8, 9, 9.4, 9.8], abs=0.3)
    assert max(map(len, said)) <= 80


async def test_a_cancel_at_any_step_leaves_nothing_open() -> None:
    async def live() -> None:
        async with server(silent) as port:
            with trio.move_on_after(0.02):
                await socks_client.ask(port, "127.0.0.1", 80)

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before

    assert await cancel_at_every_step(live, check) > 3
