"""HAProxy as a process of its own, for the length of a block."""

import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

DEFAULTS = "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"


@asynccontextmanager
async def haproxy(folder: Path, sections: str, *answers_at: tuple[str, int]) -> AsyncIterator[None]:
    """Run a HAProxy with these sections of a configuration, once it accepts at these addresses."""
    config = folder / "haproxy.cfg"
    config.write_text(DEFAULTS + sections)
    async with trio.open_nursery() as nursery:
        command = ["haproxy", "-db", "-f", str(config)]
        process = await nursery.start(
            partial(trio.run_process, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        )
        try:
            for address in answers_at:
                await _accepts(address)
            yield
        finally:
            process.terminate()


async def _accepts(address: tuple[str, int]) -> None:
    with trio.fail_after(10):
        while True:
            try:
                socket.create_connection(address).close()
            except ConnectionRefusedError:
                await trio.sleep(0.02)
            else:
                return
