"""The demo's clients: their addresses, their pace, and the ends of their visits."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.support.cancels import cancel_at_every_step, cancelled_before, left_open
from tests.support.wires import server
from trioedge.cli.demo import clients
from trioedge.cli.demo.clients import BURST, Seen, visit
from trioedge.cli.demo.edge import BURSTING, POLITE, STAYING, STRANGERS, UNWANTED, WATCHING
from trioedge.cli.demo.upstream import DemoServer

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def clock() -> trio.testing.MockClock:
    """A clock that jumps once loopback has been quiet for 30 ms: the clients have real sockets."""
    return trio.testing.MockClock(autojump_threshold=0.03)


def answering(*answers: bytes, requests: list[bytes]) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """Script a server that sends an answer, as it is, for each request, then hangs up."""

    async def converse(stream: trio.SocketStream) -> None:
        for answer in answers:
            request = await stream.receive_some()
            if not request:
                return
            requests.append(request)
            await stream.send_all(answer)

    return converse


async def test_two_requests_are_made_on_one_connection_with_a_pause_after_each(clock: trio.testing.MockClock) -> None:
    requests: list[bytes] = []
    seen = Seen()
    async with server(answering(HEAD + b"12345", HEAD + b"12345", HEAD, requests=requests)) as port:
        began = trio.current_time()
        await visit("127.0.0.9", port, seen, requests=2, pause=5, size=5)
        assert trio.current_time() - began == pytest.approx(10, abs=0.5)
    assert requests == [b"GET /5 HTTP/1.1\r\nHost: demo\r\n\r\n"] * 2
    assert seen == Seen(Counter({"127.0.0.9": 2 * len(HEAD + b"12345")}))


async def test_a_visit_comes_from_its_own_address() -> None:
    sources = []

    async def note(stream: trio.SocketStream) -> None:
        sources.append(stream.socket.getpeername()[0])

    async with server(note) as port:
        await visit("127.0.0.9", port, Seen(), requests=1)
    assert sources == ["127.0.0.9"]


@pytest.mark.parametrize(
    "pieces",
    [[HEAD + b"12345"], [HEAD, b"12345"], [HEAD[:-1], HEAD[-1:] + b"1234", b"5"], [b"H", HEAD[1:] + b"12", b"345"]],
    ids=["at once", "head and body", "cut in the end of the head", "three"],
)
async def test_an_answer_ends_with_its_last_byte_however_it_is_cut(
    pieces: list[bytes], clock: trio.testing.MockClock
) -> None:
    async def in_pieces(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        for piece in pieces:
            await trio.sleep(1)
            await stream.send_all(piece)
        await trio.sleep(100)

    seen = Seen()
    async with server(in_pieces) as port:
        began = trio.current_time()
        await visit("127.0.0.9", port, seen, requests=1, size=5)
        assert trio.current_time() - began == pytest.approx(len(pieces), abs=0.5)
    assert seen.arrived.total() == sum(map(len, pieces))


@pytest.mark.parametrize("answer", [b"", HEAD, HEAD + b"1234", HEAD[:-1]])
async def test_a_cut_ends_the_visit_before_its_next_request(answer: bytes) -> None:
    requests: list[bytes] = []
    async with server(answering(answer, requests=requests)) as port:
        await visit("127.0.0.9", port, Seen(), requests=1_000, size=5)
    assert len(requests) == 1


async def test_a_refused_connect_is_counted_and_ends_the_visit() -> None:
    seen = Seen()
    async with server() as port:
        pass
    await visit("127.0.0.9", port, seen, requests=1)
    assert seen.refused == 1


async def test_an_address_that_is_none_of_this_machine_ends_the_visit() -> None:
    seen = Seen()
    async with server() as port:
        await visit("192.0.2.1", port, seen, requests=1)
    assert seen.refused == 0


async def test_a_cancel_at_any_step_of_a_visit_leaves_nothing_open() -> None:
    async def live() -> None:
        async with trio.open_nursery() as nursery:
            port = await nursery.start(DemoServer().run)
            await visit("127.0.0.1", port, Seen(), requests=2)
            nursery.cancel_scope.cancel()

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before

    assert await cancel_at_every_step(live, check) > 15


async def test_each_kind_of_client_has_its_addresses_and_its_pace(clock: trio.testing.MockClock) -> None:
    """The upstream of this test lets the video clients wait, as the edge's rate does; other answers are at once."""
    upstream = DemoServer()
    visits: defaultdict[str, list[float]] = defaultdict(list)
    seen = Seen()

    async def note(stream: trio.SocketStream) -> None:
        source = stream.socket.getpeername()[0]
        visits[source].append(round(trio.current_time() - began))
        if source == WATCHING:
            await stream.send_all(b"HTTP")
            await trio.sleep_forever()
        await upstream.converse(stream)

    async with server(note) as port:
        began = trio.current_time()
        with trio.move_on_after(6) as scope:
            await clients.run(port, seen)
    assert scope.cancelled_caught
    assert len(visits[POLITE]) == 4  # each takes 0.8 s, then it pauses for 1 s
    assert len(visits[UNWANTED]) == 8
    assert visits[BURSTING] == [0] * BURST + [6] * BURST  # a burst takes 1.5 s, then it pauses for 4 s
    assert visits[STAYING] == [0, 0, 0]
    assert visits[WATCHING] == [0, 0]
    assert visits[f"{STRANGERS}1"] == [1, 1]
    assert set(visits) == {POLITE, UNWANTED, BURSTING, STAYING, WATCHING, f"{STRANGERS}1"}
    assert seen.arrived[WATCHING] == 8


async def test_a_stranger_that_was_cut_is_followed_by_the_next_address_four_seconds_later(
    clock: trio.testing.MockClock,
) -> None:
    visits: list[tuple[str, int]] = []

    async def cut(stream: trio.SocketStream) -> None:
        source = stream.socket.getpeername()[0]
        if source.startswith(STRANGERS):
            visits.append((source, round(trio.current_time() - began)))
        else:
            await trio.sleep_forever()

    async with server(cut) as port:
        began = trio.current_time()
        with trio.move_on_after(10.5):
            await clients.run(port, Seen())
    times = {f"{STRANGERS}1": 1, f"{STRANGERS}2": 5, f"{STRANGERS}3": 9}
    assert visits == [(source, at) for source, at in times.items() for _ in range(2)]


async def test_a_cancel_at_any_of_the_first_steps_of_all_clients_leaves_nothing_open() -> None:
    async def live() -> None:
        async with server(DemoServer().converse) as port:
            with trio.move_on_after(0.02):
                await clients.run(port, Seen())

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before

    for step in range(1, 100, 7):
        assert await cancelled_before(step, live)
        check()
