"""Real servers for tests: run one until it accepts connections, and end it."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from tests.support.wires import connect


@asynccontextmanager
async def daemon(*command: str, port: int) -> AsyncIterator[trio.Process]:
    """Run a server for the length of the block, once it accepts on a port of 127.0.0.1; it may be killed."""
    async with trio.open_nursery() as nursery:
        quiet = partial(trio.run_process, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        run = partial(quiet, list(command))
        process = await nursery.start(run)
        with trio.fail_after(10):
            while not await accepts(port):
                await trio.sleep(0.01)
        yield process
        process.kill()


async def accepts(port: int) -> bool:
    """Tell whether a port accepts connections."""
    try:
        (await connect(port)).socket.close()
    except ConnectionRefusedError:
        return False
    return True
