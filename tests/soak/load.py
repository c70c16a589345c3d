"""The bench's upstream and load client, in C, for parts that want many sessions and no scripts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

HANGS = 20.0
"""Seconds that a load client may take beyond what it was told."""


@asynccontextmanager
async def echoing(echo: Path) -> AsyncIterator[int]:
    """Run an upstream that echoes, and give its port."""
    process = await trio.lowlevel.open_process([str(echo)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(await process.stdout.receive_some())
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


async def ask(
    load: Path, command: str, address: str, *arguments: float, source: str | None = None, patience: float = HANGS
) -> Mapping[str, Any] | None:
    """Run the load client; None if it died or hung, which is what a client sees of an edge that is not there."""
    port = address.rpartition(":")[2]
    line = [str(load), command, port, *map(str, arguments)]
    environment = {**os.environ, **({"SOURCE": source} if source else {})}
    with trio.move_on_after(patience) as scope:
        done = await trio.run_process(line, capture_stdout=True, capture_stderr=True, check=False, env=environment)
    if scope.cancelled_caught or done.returncode:
        return None
    answer: Mapping[str, Any] = json.loads(done.stdout)
    return answer
