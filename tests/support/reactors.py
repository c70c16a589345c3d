"""A reactor at work for the length of a block."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from trioedge.loop.reactor import Reactor
from trioedge.telemetry.log import EdgeLog


@asynccontextmanager
async def open_reactor() -> AsyncIterator[Reactor]:
    """Run a reactor; the block closes the sockets that it registers."""
    reactor = Reactor(EdgeLog())
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        yield reactor
        nursery.cancel_scope.cancel()


def deadlines_of(reactor: Reactor) -> int:
    """Count the deadlines that are set."""
    return sum(map(len, reactor._deadlines._buckets.values()))
