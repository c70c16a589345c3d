"""The program that serves the demo's edges with two workers, as a user's would: a process of its own.

``python -m trioedge.cli.demo.program FOLDER PORT [URL]`` reads the services from a control plane at the URL, whose
token is in ``CONTROL_TOKEN``, or else from a file in the folder. It ends when its stdin does, and so when the demo has
ended in any way.
"""

import os
import signal
import sys
from typing import Final

import trio

import trioedge as te

from ...process import logs
from ...process.run import run_edges
from . import edge as demo_edge
from . import socks_edge

WORKERS: Final = 2

EDGE: Final = "demo"
SOCKS: Final = "socks"
"""The names of the edges."""

SERVICES: Final = "services.toml"
"""The file of services in the folder."""

ADMIN: Final = "edge.sock"
"""The local socket of the admin API in the folder."""

TOKEN: Final = "CONTROL_TOKEN"


def main(folder: str, port: str, url: str | None = None) -> te.ExitCode:
    """Serve the edges until stdin ends, or a signal comes."""
    logs.configure("json")
    listen, admin = f"tcp://127.0.0.1:{port}", f"unix://{folder}/{ADMIN}"
    if url is None:
        edge = demo_edge.build(
            listen, te.FileControl(f"{folder}/{SERVICES}"), check=demo_edge.check_device, admin=admin
        )
    else:
        edge = demo_edge.build(listen, te.HttpControl(url, token=te.Secret(env=TOKEN)), admin=admin)
    edges = {EDGE: edge, SOCKS: socks_edge.build("tcp://127.0.0.1:0")}
    parent = os.getpid()

    async def end_with_stdin() -> None:
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            async for _ in stdin:
                pass
        if os.getppid() == parent:
            os.kill(parent, signal.SIGTERM)

    return run_edges(edges, edge.reload, end_with_stdin, workers=WORKERS)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
