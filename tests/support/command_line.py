"""Run `trioedge` as a child process, with real signals; no helper waits by the clock."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

COMMAND = (sys.executable, "-m", "trioedge")
PATIENCE = 20
"""Seconds after which a test has failed; no test comes near."""


class Running:
    """A command that runs; its stderr is read on demand."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.stderr = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    async def says(self, text: str, times: int = 1) -> str:
        """Wait for so many whole lines of stderr that contain `text`, and give the last of them."""
        assert self._process.stderr is not None
        while True:
            lines = [line for line in self.stderr.splitlines(keepends=True) if text in line and line.endswith("\n")]
            if len(lines) >= times:
                return lines[times - 1]
            chunk = await self._process.stderr.receive_some()
            assert chunk, f"ended without a line with {text!r}:\n{self.stderr}"
            self.stderr += chunk.decode()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ends(self) -> int:
        """Read the rest of stderr, and wait for the exit code."""
        assert self._process.stderr is not None
        async for chunk in self._process.stderr:
            self.stderr += chunk.decode()
        return await self._process.wait()


@asynccontextmanager
async def running(
    *arguments: str, command: Sequence[str] = COMMAND, patience: float = PATIENCE
) -> AsyncIterator[Running]:  # fmt: skip
    """Run a command until the block ends."""
    with trio.fail_after(patience):
        process = await trio.lowlevel.open_process([*command, *arguments], stderr=subprocess.PIPE)
        try:
            yield Running(process)
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            assert process.stderr is not None
            await process.stderr.aclose()


async def finished(*arguments: str) -> tuple[int, str, str]:
    """Run a command to its end; give its exit code, stdout and stderr."""
    with trio.fail_after(PATIENCE):
        result = await trio.run_process([*COMMAND, *arguments], capture_stdout=True, capture_stderr=True, check=False)
    return result.returncode, result.stdout.decode(), result.stderr.decode()
