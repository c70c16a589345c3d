"""One end of a plain TCP connection in tests of endings: its bytes, its hearing and its leaving."""

import socket

import trio

from trioedge.loop.sockets import reset

SAID = bytes(range(250)) * 240
"""The bytes that each side says."""

Ending = tuple[int, str]
LEFT: Ending = (0, "left")


async def hear_to_end(sock: socket.socket, *, slow: bool = False) -> tuple[bytes, str]:
    """Read to the end; give the bytes, and whether an ``end`` or a ``reset`` came. Slowly: 4 KiB at a time."""
    if slow:
        await trio.sleep(0.1)
    heard = bytearray()
    with trio.fail_after(10):
        while True:
            try:
                more = sock.recv(4_096 if slow else 65_536)
            except BlockingIOError:
                await trio.sleep(0.001)
            except ConnectionResetError:
                return bytes(heard), "reset"
            else:
                if not more:
                    return bytes(heard), "end"
                heard += more
                await trio.sleep(0.001 if slow else 0)


async def hear(sock: socket.socket, *, slow: bool = False) -> Ending:
    """Read to the end: how many bytes, all of them the right ones, and whether an end or a reset came."""
    heard, how = await hear_to_end(sock, slow=slow)
    assert heard == SAID[: len(heard)]
    return len(heard), how


async def first(sock: socket.socket) -> None:
    """Wait for the first byte, so that the session is relaying."""
    with trio.fail_after(5):
        while True:
            try:
                sock.recv(1)
                return
            except BlockingIOError:
                await trio.sleep(0.001)


def leave(sock: socket.socket) -> Ending:
    """Close with a reset."""
    reset(sock)
    return LEFT
