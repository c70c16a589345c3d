"""pproxy, a proxy in Python: `python -m tests.bench.pproxy_server LISTEN`, where LISTEN is such as socks5://127.0.0.1:1080.

It runs on asyncio, as it does where it is installed alone; beside uvloop its command line fails to start.
"""

from __future__ import annotations

import asyncio
import sys

import pproxy


async def serve(listen: str) -> None:
    """Serve until killed."""
    await pproxy.Server(listen).start_server(
        {"rserver": [pproxy.Connection("direct://")], "verbose": lambda text: None}
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
