"""The usual Trio relay: `SocketStream` both sides, a nursery and two tasks a session."""

from __future__ import annotations

import sys
from functools import partial

import trio


async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    """Copy one direction until its end, then tell the other side."""
    async for data in source:
        await sink.send_all(data)
    await sink.send_eof()


async def session(upstream: int, client: trio.SocketStream) -> None:
    """Connect to the upstream and carry both directions."""
    try:
        async with (
            client,
            await trio.open_tcp_stream("127.0.0.1", upstream) as server,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(pump, client, server)
            nursery.start_soon(pump, server, client)
    except* (OSError, trio.BrokenResourceError):
        pass


def main() -> None:
    """Read the ports and relay until killed."""
    port, upstream = map(int, sys.argv[1:3])
    trio.run(partial(trio.serve_tcp, partial(session, upstream), port, host="127.0.0.1"))


if __name__ == "__main__":
    main()
