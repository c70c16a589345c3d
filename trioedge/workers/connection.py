"""One connection of a worker, as the control process sees it."""

from collections.abc import Mapping
from typing import Any

import trio

from ..telemetry.log import EdgeLog
from .hub_edge import HubEdge
from .life import Life
from .messages.channel import Channel
from .messages.frames import Frames


class WorkerConnection:
    """One connection of a worker."""

    def __init__(self, edges: Mapping[str, HubEdge], life: Life, log: EdgeLog) -> None:
        """Serve nothing yet.

        Args:
            edges: by name; the worker may have others, which are left out.
            life: the worker.
            log: the log.
        """
        self._edges, self._life, self._log = edges, life, log
        self._scopes: dict[str, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None

    def channel(self, frames: Frames) -> Channel:
        """Make the channel."""
        return Channel(frames, self._told, self._answer, self._log)

    async def run(self, channel: Channel) -> None:
        """Carry messages until the channel ends."""
        async with trio.open_nursery() as self._nursery:
            await channel.run()
            self._nursery.cancel_scope.cancel()

    async def _told(self, topic: str, body: Any) -> None:
        name, said = body
        edge = self._edges.get(name)
        if edge is None:
            return
        if topic == "leave":
            self._end(name)
            edge.lost(self._life)
        else:
            edge.told(self._life, topic, said)

    async def _answer(self, topic: str, body: Any) -> object:
        await trio.lowlevel.checkpoint()
        name, said = body
        edge = self._edges.get(name)
        if edge is None:
            return None
        if topic != "follow":
            return edge.answer(self._life, topic, said)
        await edge.ready()
        self._end(name)
        assert self._nursery is not None, "it runs"
        await self._nursery.start(self._serve, edge, said)
        return None

    def _end(self, name: str) -> None:
        """End the serving of an edge, if the worker follows it."""
        if (scope := self._scopes.pop(name, None)) is not None:
            scope.cancel()

    async def _serve(self, edge: HubEdge, said: str | None, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve the worker for one edge; started once its messages can be taken."""
        with trio.CancelScope() as scope:
            self._scopes[edge.name] = scope
            await edge.serve(self._life, said, task_status=task_status)
