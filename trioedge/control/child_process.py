"""A child process that lives as long as a block of code, and no longer."""

import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio


@asynccontextmanager
async def child_process(command: Sequence[str | os.PathLike[str]], **options: Any) -> AsyncIterator[trio.Process]:
    """Run a program whose ``stdout`` is a pipe; kill it and wait for it when the block ends, also by a cancel.

    Args:
        command: the program and its arguments.
        options: as `subprocess.Popen` takes them.

    Raises:
        OSError: the system starts no such process.
    """
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, **options)
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # short, because nothing survives a kill
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()
