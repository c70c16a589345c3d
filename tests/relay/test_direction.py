"""One direction of a relay over streams: how it ends, its pieces, and the one buffer that it keeps."""

import weakref
from typing import Any

import pytest
import trio
import trio.testing

from tests.support.quotas import limit
from tests.support.wires import tcp_pair
from tests.support.wrapped import Wrapped
from trioedge.loop.reactor import BUFFER_BYTES
from trioedge.relay.direction import CHECKED_BYTES, PIECE_BYTES, Direction, End
from trioedge.relay.streams import PlainStream
from trioedge.session.verdict import Reason
from trioedge.testing import make_session


def make_direction(source: Any, sink: Any, beneath: object = None) -> Direction:
    session = make_session(now=trio.current_time())
    meter = session.service.down
    return Direction(session, source, sink, meter, trio.current_time, upwards=False, beneath=beneath)


class Noted(bytearray):
    """Bytes that can be watched."""


class Given:
    """A source of some reads, each bytes or an exception; then it waits.

    Attributes:
        asked: the bytes that each read asked for.
        alive: how many reads were still referred to, each time it was read.
    """

    def __init__(self, *reads: bytes | Exception) -> None:
        self.reads = list(reads)
        self.asked: list[int | None] = []
        self.alive: list[int] = []
        self._given: list[weakref.ref[Noted]] = []

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await trio.lowlevel.checkpoint()
        self.asked.append(max_bytes)
        self.alive.append(sum(each() is not None for each in self._given))
        if not self.reads:
            await trio.sleep_forever()
        read = self.reads.pop(0)
        if isinstance(read, Exception):
            raise read
        data = Noted(read)
        self._given.append(weakref.ref(data))
        return data


class Taken:
    """A sink that takes `seconds` for each piece, and fails at the piece of number `fails`.

    Attributes:
        pieces: the bytes of each call.
    """

    def __init__(self, seconds: float = 0.0, fails: int = -1) -> None:
        self.pieces: list[bytes] = []
        self._seconds, self._fails = seconds, fails

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(self._seconds)
        if len(self.pieces) == self._fails:
            raise trio.BrokenResourceError("no more")
        self.pieces.append(bytes(data))


@pytest.mark.parametrize(
    ("reads", "fails", "end", "detail", "moved"),
    [
        ((b"one", b"two", b""), -1, End.ENDED, "", 6),
        ((b"one", trio.BrokenResourceError("reset")), -1, End.BROKEN, "reset", 3),
        ((b"one", trio.ClosedResourceError()), -1, End.BROKEN, "ClosedResourceError()", 3),
        ((b"one", b"two", b""), 1, End.REFUSED, "no more", 3),
        ((bytes(3 * PIECE_BYTES), b""), 2, End.REFUSED, "no more", 2 * PIECE_BYTES),
    ],
)
async def test_it_ends_as_its_source_or_its_sink_does_and_counts_what_the_sink_took(
    reads: tuple[Any, ...], fails: int, end: End, detail: str, moved: int
) -> None:
    sink = Taken(fails=fails)
    direction = make_direction(Given(*reads), sink)
    assert (await direction.carry(), direction.detail, direction.moved) == (end, detail, moved)
    assert sum(map(len, sink.pieces)) == moved


async def test_a_sink_without_a_socket_gets_pieces_and_each_is_a_sign_of_life(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sink = Taken(seconds=0.5)
    direction = make_direction(Given(bytes(BUFFER_BYTES)), sink)
    with trio.move_on_after(3.2):
        await direction.carry()
    assert [len(piece) for piece in sink.pieces] == [PIECE_BYTES] * 6
    assert (direction.active_at, direction.moved) == (3.0, 6 * PIECE_BYTES)


@pytest.mark.parametrize("size", [1, PIECE_BYTES, PIECE_BYTES + 1])
async def test_a_read_of_any_size_is_life_when_the_sink_has_taken_its_last_piece(
    size: int, autojump_clock: trio.testing.MockClock
) -> None:
    data = bytes(range(256)) * 17
    sink = Taken(seconds=0.5)
    direction = make_direction(Given(data[:size], b""), sink)
    assert await direction.carry() is End.ENDED
    assert b"".join(sink.pieces) == data[:size]
    assert max(map(len, sink.pieces)) <= PIECE_BYTES
    assert direction.active_at == 0.5 * len(sink.pieces)
    assert direction.queued() == 0


async def test_a_sink_with_a_socket_gets_each_read_whole() -> None:
    near, far = map(PlainStream, tcp_pair())
    sink = Taken()
    direction = make_direction(Given(bytes(BUFFER_BYTES), b""), sink, beneath=near)
    assert await direction.carry() is End.ENDED
    assert [len(piece) for piece in sink.pieces] == [BUFFER_BYTES]
    near.close()
    far.close()


async def test_no_buffer_is_kept_while_the_next_one_is_received() -> None:
    near, far = map(PlainStream, tcp_pair())
    for sink in (Taken(), near):
        source = Given(b"one", bytes(BUFFER_BYTES), b"three", b"")
        await make_direction(source, sink).carry()
        assert set(source.alive) == {0}
        assert set(source.asked) == {BUFFER_BYTES}
    near.close()
    far.close()


@pytest.mark.parametrize("wrap", [lambda near: near, Wrapped], ids=["plain", "wrapped"])
async def test_a_reader_that_never_reads_costs_one_buffer_and_is_asked_for_no_more(wrap: Any) -> None:
    near, far = map(PlainStream, tcp_pair())
    source = Given(*[bytes(BUFFER_BYTES)] * 200)
    direction = make_direction(source, wrap(near), beneath=near)
    with trio.move_on_after(0.05):
        await direction.carry()
    given = 200 - len(source.reads)
    assert given < 200
    assert given * BUFFER_BYTES - direction.moved <= BUFFER_BYTES
    assert set(source.alive) == {0}
    assert 0 < direction.queued() <= direction.moved
    near.close()
    far.close()
    assert direction.queued() == 0


async def test_a_plain_source_that_always_has_bytes_leaves_other_tasks_a_turn() -> None:
    near, far = map(PlainStream, tcp_pair())
    await far.send_all(bytes(64))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    class Bytewise(PlainStream):
        def receive_now(self, max_bytes: int | None = None) -> bytes | None:
            return super().receive_now(1)

    source, (sink, drain) = Bytewise(near.detach()[0]), map(PlainStream, tcp_pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await far.send_eof()
        assert await make_direction(source, sink).carry() is End.ENDED
        nursery.cancel_scope.cancel()
    assert turns >= 32
    for each in (source, sink, drain, far):
        each.close()


async def test_bytes_that_come_once_the_quota_is_used_up_are_not_sent_and_the_session_is_cut() -> None:
    source, sink = Given(b"one", b"two"), Taken(0)
    direction = make_direction(source, sink, beneath=object())
    session = direction._session
    limit(session, 3)
    with trio.fail_after(1):
        assert await direction.carry() is End.REFUSED
    assert (b"".join(sink.pieces), direction.moved, session.cut_reason) == (b"one", 3, Reason.QUOTA)


async def test_a_service_with_a_quota_is_read_in_halves_because_both_directions_may_have_one_in_hand() -> None:
    source = Given(b"", b"")
    direction = make_direction(source, Taken(0))
    await direction.carry()
    limit(direction._session, 3)
    await direction.carry()
    assert source.asked == [BUFFER_BYTES, CHECKED_BYTES]
    assert 2 * CHECKED_BYTES == BUFFER_BYTES
