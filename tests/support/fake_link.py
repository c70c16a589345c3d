"""A link of a control plane without an edge, and a control plane that runs for one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from trioedge.services.control_plane import ControlPlane
from trioedge.testing.fake_link import PATIENCE as PATIENCE
from trioedge.testing.fake_link import FakeLink as FakeLink


@asynccontextmanager
async def linked(control: ControlPlane) -> AsyncIterator[FakeLink]:
    """Run a control plane for a link of its own, from its first snapshot until the block ends."""
    link = FakeLink()
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, link)
        yield link
        nursery.cancel_scope.cancel()
