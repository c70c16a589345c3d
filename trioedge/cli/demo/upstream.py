"""The demo's upstream: just enough HTTP/1.1 to answer `curl`."""

from contextlib import suppress
from typing import Final

import trio

HEAD_BYTES: Final = 16_384
BODY_DIGITS: Final = 6
GREETING: Final = b"hello from behind seven stages\n"


class DemoServer:
    """Answers ``GET /`` with a greeting and ``GET /1234`` with so many bytes.

    Attributes:
        answered: requests answered so far.
    """

    def __init__(self) -> None:
        self.answered = 0

    async def run(self, *, task_status: trio.TaskStatus[int]) -> None:
        """Answer on a loopback port that the system chooses, until cancelled; `task_status` is given the port."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self.converse, listeners)
            task_status.started(listeners[0].socket.getsockname()[1])

    async def converse(self, stream: trio.abc.Stream) -> None:
        """Answer one request after another, until the connection ends."""
        received = b""
        with suppress(trio.BrokenResourceError):
            async for chunk in stream:
                received += chunk
                while b"\r\n\r\n" in received:
                    head, _, received = received.partition(b"\r\n\r\n")
                    await stream.send_all(_answer(head))
                    self.answered += 1
                if len(received) > HEAD_BYTES:
                    return


def _answer(head: bytes) -> bytes:
    size = head.split(b" ", 2)[1].lstrip(b"/") if head.count(b" ") > 1 else b""
    body = b"." * int(size[:BODY_DIGITS]) if size.isdigit() else GREETING
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
