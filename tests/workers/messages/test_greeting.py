"""The greeting: workers that know the secret, and strangers."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from trioedge.workers.messages.frames import ChannelError, Frames, pack
from trioedge.workers.messages.greeting import GREETING_SECONDS, PROTOCOL, Hello, Welcome, greet, welcome

SECRET = bytes(range(32))
HELLO = Hello(number=1, column=5, generation=2, pid=99)
WELCOME = Welcome("run", 7)


async def test_a_worker_and_the_control_process_know_each_other() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    found: list[object] = []
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            found.append(await welcome(Frames(theirs), SECRET, WELCOME))

        nursery.start_soon(answer)
        assert await greet(Frames(ours), SECRET, HELLO) == WELCOME
    assert found == [HELLO]


def fields(**others: object) -> bytes:
    return pack({"protocol": PROTOCOL, "number": 1, "column": 5, "generation": 2, "pid": 99} | others)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        SECRET[:-1],
        bytes(32),
        bytes(32) + fields(),
        SECRET,
        SECRET + b"\xff\xff\xff\xff",
        SECRET + pack("hello"),
        SECRET + fields(protocol=PROTOCOL + 1),
        SECRET + pack({"protocol": PROTOCOL}),
    ],
)
async def test_a_stranger_is_not_welcome(sent: bytes, autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(sent)
    assert await welcome(Frames(theirs), SECRET, WELCOME) is None
    assert trio.current_time() <= GREETING_SECONDS


async def test_a_pickle_of_a_stranger_is_never_read() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(bytes(32) + pack(_Bomb()))
    assert await welcome(Frames(theirs), SECRET, WELCOME) is None
    assert not _Bomb.exploded


class _Bomb:
    exploded = False

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return _explode, ()


def _explode() -> None:
    _Bomb.exploded = True


async def test_a_later_version_may_say_more() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(SECRET + fields(mood="good"))
    assert await welcome(Frames(theirs), SECRET, WELCOME) == HELLO


@pytest.mark.parametrize("act", ["silent", "hangs up", "says nonsense"])
async def test_a_control_process_that_does_not_welcome_is_an_error(
    act: str, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    acts: dict[str, Callable[[], Awaitable[None]]] = {
        "silent": trio.lowlevel.checkpoint,
        "hangs up": theirs.aclose,
        "says nonsense": lambda: theirs.send_all(pack(1)),
    }
    await acts[act]()
    with pytest.raises(ChannelError):
        await greet(Frames(ours), SECRET, HELLO)
