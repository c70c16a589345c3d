"""The demo's client of SOCKS 5: it logs in, asks for one destination after another, and tells what it heard."""

import socket
import struct
from typing import Final

import trio

from .socks_edge import PASSWORDS, USER
from .view import View

FIRST_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = 0.4
CYCLE_SECONDS: Final = 6.0

DENIED: Final = "169.254.169.254"
"""Where clouds keep the credentials of a machine: a proxy must not fetch them for its clients."""

REPLIES: Final = {0: "succeeded", 2: "not allowed", 5: "connection refused"}
"""The codes of RFC 1928 section 6 that the demo shows."""

REQUEST: Final = b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n"


async def run(port: int, upstream: int, view: View) -> None:
    """Ask the edge at `port` for the upstream, a denied address and a closed port, again and again until cancelled."""
    with trio.socket.socket() as closed:
        await closed.bind(("127.0.0.1", 0))  # a port of its own, on which nothing listens
        asked = {
            "the upstream": ("127.0.0.1", upstream),
            DENIED: (DENIED, 80),
            "a closed port": ("127.0.0.1", closed.getsockname()[1]),
        }
        await trio.sleep(FIRST_SECONDS)
        while True:
            next_turn = trio.current_time() + CYCLE_SECONDS
            for name, destination in asked.items():
                view.note(f"SOCKS: {USER} logs in and asks for {name}: {await ask(port, *destination)}")
                await trio.sleep(PAUSE_SECONDS)
            await trio.sleep_until(next_turn)


async def ask(port: int, host: str, port_there: int, password: str = PASSWORDS[USER]) -> str:
    """Log in, ask for an IPv4 address, and make a request there if it is granted; give the answers in words."""
    user, secret = USER.encode(), password.encode()
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"\5\1\2")
            await _receive(stream, 2)
            await stream.send_all(b"\1" + bytes([len(user)]) + user + bytes([len(secret)]) + secret)
            if await _receive(stream, 2) != b"\1\0":
                return "wrong password"
            await stream.send_all(b"\5\1\0\1" + socket.inet_aton(host) + struct.pack(">H", port_there))
            code = (await _receive(stream, 10))[1]
            if code:
                return REPLIES.get(code, f"code {code}")
            await stream.send_all(REQUEST)
            status = (await _receive(stream, 15)).decode()
            return f"{REPLIES[code]}, {status}"
    except (OSError, trio.BrokenResourceError):
        return "no answer"


async def _receive(stream: trio.SocketStream, count: int) -> bytes:
    """Receive exactly `count` bytes.

    Raises:
        trio.BrokenResourceError: the edge closed before.
    """
    received = b""
    while len(received) < count:
        chunk = await stream.receive_some(count - len(received))
        if not chunk:
            raise trio.BrokenResourceError("closed in the middle of an answer")
        received += chunk
    return received
