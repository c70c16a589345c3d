"""What the probes share. A probe is a process that holds the edges it asks about, and prints one line of JSON.

`python -m tests.bench.NAME ECHO LOAD TURNS`, with the paths of the two programs of `load/` and how often to repeat.
Peers take turns, so that both are asked within the same seconds.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog
import trio

import trioedge as te
from tests.bench.processes import ROOT, raise_open_files

Values = dict[str, float]


def run(measure: Callable[[str, str, int], Awaitable[Values]]) -> None:
    """Run a probe in a process such as `te.run` makes for an edge, and print what it found."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    raise_open_files()
    gc.collect()
    gc.freeze()
    echo, load, turns = sys.argv[1:4]
    print(json.dumps(trio.run(measure, echo, load, int(turns))))


@asynccontextmanager
async def serving(edge: te.Edge) -> AsyncIterator[int]:
    """Serve an edge and give the port of its first address."""
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        yield port_of(edge)
        nursery.cancel_scope.cancel()


def port_of(edge: te.Edge, number: int = 0) -> int:
    return int(edge.addresses[number].rpartition(":")[2])


@contextmanager
def child(command: Sequence[str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a process, and kill it at the end. Not in a worker thread: the C programs end with who started them."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **more) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def echoing(echo: str) -> Iterator[int]:
    """Run an upstream that echoes and give its port."""
    with child([echo]) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())


async def ask(load: str, command: str, *arguments: float) -> Any:
    """Run the load client and give what it measured."""
    with child([load, command, *map(str, arguments)]) as client:
        output, _ = await trio.to_thread.run_sync(client.communicate, abandon_on_cancel=True)
    answer = json.loads(output)
    if answer.get("errors"):
        raise RuntimeError(f"{command} {arguments}: {answer}")
    return answer


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed."""
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]
