"""Frames on a stream between two processes of one program: a length and a pickle.

Both ends are processes of one user that were forked from one parent, and the secret of :mod:`.greeting` comes before
the first frame; so a pickle is as good as the code of the peer.
"""

import pickle
import struct
from typing import Any, Final

import trio

from ...errors import EdgeError, quote_fault

MAX_FRAME_BYTES: Final = 1 << 20
"""Bytes of a pickle; a peer that announces more is broken. Senders cut long lists into slices far below it."""

_LENGTH: Final = struct.Struct(">I")
_CHUNK: Final = 65_536


class ChannelError(EdgeError):
    """The peer has hung up, is broken, or gave no answer in time."""


class UnsentError(ChannelError):
    """A message is too long or cannot be pickled, and was not sent; the peer is as before."""


class Frames:
    """Sends and receives frames. One task may send and another one receive."""

    __slots__ = ("_buffer", "_stream")

    def __init__(self, stream: trio.abc.Stream) -> None:
        """Receive and send nothing yet.

        Args:
            stream: a connected stream; :meth:`close` closes it.
        """
        self._stream = stream
        self._buffer = bytearray()

    async def send(self, frame: bytes) -> None:
        """Send what :func:`pack` gave. After a cancel the stream is of no more use.

        Raises:
            ChannelError: the peer has hung up.
        """
        try:
            await self._stream.send_all(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ChannelError("the peer has hung up") from error

    async def receive(self) -> Any:
        """Receive the value of one frame. After a cancel nothing is lost.

        Raises:
            ChannelError: the peer has hung up, or sent something that is no frame.
        """
        (length,) = _LENGTH.unpack(await self.receive_exactly(_LENGTH.size, keep=True))
        if length > MAX_FRAME_BYTES:
            raise ChannelError(f"the peer announces a message of {length:,} bytes")
        frame = await self.receive_exactly(_LENGTH.size + length)
        try:
            return pickle.loads(memoryview(frame)[_LENGTH.size :])
        except Exception as error:
            raise ChannelError(f"the peer sent a message that cannot be read: {quote_fault(error)}") from None

    async def receive_exactly(self, count: int, *, keep: bool = False) -> bytes:
        """Receive so many bytes; with `keep` they are received again. After a cancel nothing is lost.

        Raises:
            ChannelError: the peer hung up before.
        """
        while len(self._buffer) < count:
            try:
                more = await self._stream.receive_some(_CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ChannelError("the peer has hung up") from error
            if not more:
                raise ChannelError("the peer has hung up")
            self._buffer += more
        data = bytes(self._buffer[:count])
        if not keep:
            del self._buffer[:count]
        return data

    async def close(self) -> None:
        """Close the stream at once."""
        await trio.aclose_forcefully(self._stream)


def pack(value: object) -> bytes:
    """Make the frame of a value.

    Raises:
        UnsentError: it cannot be pickled, or it is too long.
    """
    try:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise UnsentError(f"a message cannot be sent: {quote_fault(error)}") from None
    if len(data) > MAX_FRAME_BYTES:
        raise UnsentError(f"a message of {len(data):,} bytes is too long to be sent")
    return _LENGTH.pack(len(data)) + data
