"""`trioedge demo` as a child process, and the ends of processes that are no children."""

import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from tests.support.command_line import COMMAND, PATIENCE


class Demo:
    """`trioedge demo` as a child process."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.said = ""

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait for a line of stdout that matches, and give the match."""
        assert self.process.stdout is not None
        while not (found := re.search(pattern + r".*\n", self.said)):
            chunk = await self.process.stdout.receive_some()
            assert chunk, f"ended without {pattern!r}:\n{self.said}"
            self.said += chunk.decode()
        return found

    async def ends(self) -> int:
        assert self.process.stdout is not None
        async for chunk in self.process.stdout:
            self.said += chunk.decode()
        return await self.process.wait()


@asynccontextmanager
async def demo(*options: str) -> AsyncIterator[Demo]:
    """Run the demo for the length of the block, with a session of its own."""
    with trio.fail_after(3 * PATIENCE):  # the demo is slow enough to be followed by eye
        process = await trio.lowlevel.open_process(
            [*COMMAND, "demo", "--seconds", "60", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            async with process.stdout:
                yield Demo(process)
        finally:
            process.kill()
            await process.wait()


async def gone(pid: int) -> None:
    """Wait until a process has ended that is no child of this one; kill it if the test fails first."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
