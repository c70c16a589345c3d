"""Edges that share limits as workers do, in one process and under the clock of the test."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from tests.support.shared_memory import make_limits
from trioedge.edge import Edge, rehearse
from trioedge.serving.part import Part
from trioedge.structures.shared.limits import SharedLimits
from trioedge.testing import ScriptedUpstream
from trioedge.testing.rehearsal import Rehearsal
from trioedge.testing.upstream import echo


@asynccontextmanager
async def open_workers(
    make_edge: Callable[[], Edge], count: int = 2, *, limits: SharedLimits | None = None, columns: int = 8
) -> AsyncIterator[list[Rehearsal]]:
    """Serve an edge by several workers for the length of the block, each a whole edge, with shared limits.

    Args:
        make_edge: called for each worker.
        count: of the workers.
        limits: what earlier workers have left, as after a restart; empty ones if None.
        columns: of these limits.
    """
    limits = limits or make_limits(columns)
    async with trio.open_nursery() as nursery:
        upstream = ScriptedUpstream(echo)
        await nursery.start(upstream.run)
        workers = []
        for number in range(count):
            part = Part(
                number=number, count=count, column=number, columns=columns,
                limits=limits.of("web", number, trio.current_time()),
            )  # fmt: skip
            edge = make_edge()
            await nursery.start(partial(rehearse, edge, upstream, part=part))
            workers.append(Rehearsal(edge, upstream))
        yield workers
        nursery.cancel_scope.cancel()
