"""A control process and its workers in one process: a hub, members, and rehearsed edges of each."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any
from unittest.mock import patch

import trio

import trioedge as te
from trioedge.edge import rehearse
from trioedge.serving.part import Part
from trioedge.structures.shared.limits import SharedLimits
from trioedge.testing import Rehearsal
from trioedge.testing.upstream import ScriptedUpstream, echo
from trioedge.upstreams.hosts_file import HostsFile
from trioedge.workers.hub import Hub
from trioedge.workers.member import HubMember

SECRET = bytes(range(32))

Compose = Callable[[te.ControlPlane | None], te.Edge]
"""Makes the description of an edge; each worker has one of its own, as after a fork."""


async def no_answer(edge: str, operation: str, params: Any) -> object:
    """Answer nothing."""
    raise KeyError(operation)


@contextmanager
def without_a_hosts_file() -> Iterator[None]:
    """Read no hosts file for the length of the block: a thread does, and the clock of the test jumps meanwhile."""

    async def refresh(_: HostsFile) -> None:
        await trio.lowlevel.checkpoint()

    with patch.object(HostsFile, "refresh", refresh):
        yield


class Worker:
    """A worker: a member and its edge.

    Attributes:
        member: its connection.
        world: its rehearsed edge, once that serves.
        edge: the same edge.
    """

    def __init__(
        self, member: HubMember, edge: te.Edge, number: int, columns: int, limits: SharedLimits | None = None
    ) -> None:
        self.member, self.edge = member, edge
        shared = None if limits is None else limits.of("edge", number, trio.current_time())
        self.part = Part(
            number=number, count=2, column=number, columns=columns, control=member.control("edge"), limits=shared
        )
        self.upstream = ScriptedUpstream(echo)
        self.world = Rehearsal(edge, self.upstream)
        self.scope, self.serves = trio.CancelScope(), trio.CancelScope()
        self.serving = trio.Event()
        self.ended = trio.Event()

    async def run(self, answer: Callable[[str, str, Any], Awaitable[object]]) -> None:
        """Serve until its scope is cancelled."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.member.run, answer)
                await nursery.start(self.upstream.run)

                async def serve(*, task_status: trio.TaskStatus[te.Edge]) -> None:
                    with self.serves:
                        await rehearse(self.edge, self.upstream, part=self.part, task_status=task_status)

                await nursery.start(serve)
                self.serving.set()
        self.ended.set()


class Workers:
    """Several workers and their control process, which may be replaced.

    Attributes:
        control: the real control plane.
        hub: the present control process.
        workers: by number.
    """

    def __init__(
        self, compose: Compose, control: te.ControlPlane | None, nursery: trio.Nursery, count: int,
        limits: SharedLimits | None = None,
    ) -> None:  # fmt: skip
        self.compose, self.control, self.count, self.limits = compose, control, count, limits
        self._nursery = nursery
        self._sockets: list[socket.socket] = []
        self.hub: Hub | None = None
        self.hub_scope = trio.CancelScope()
        self._connections: list[trio.CancelScope] = []
        self.workers: list[Worker] = []

    async def start_hub(self) -> Hub:
        """Start a control process, in the place of one that was killed."""
        sock = socket.socket(socket.AF_UNIX)
        sock.bind("")  # a name of its own in the abstract namespace
        sock.listen()
        self._sockets.append(sock)
        shared = None if self.limits is None else {"edge": self.limits.of("edge", 7, 0.0)}
        edges = {"edge": self.compose(self.control)}
        hub = self.hub = Hub(edges, sock, SECRET, workers=self.count, limits=shared)
        self.hub_scope = trio.CancelScope()

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            with self.hub_scope:
                await hub.run(task_status=task_status)

        await self._nursery.start(run)
        return hub

    def kill_hub(self) -> None:
        """End the control process at once, as kill -9 does."""
        self.hub = None
        self.hub_scope.cancel()
        self.cut_connections()

    def cut_connections(self) -> None:
        """End every connection."""
        for each in self._connections:
            each.cancel()
        self._connections.clear()

    async def connect(self) -> trio.abc.Stream:
        """Connect a member with the present hub."""
        await trio.lowlevel.checkpoint()
        hub = self.hub
        if hub is None:
            raise OSError("there is no control process")
        ours, theirs = trio.testing.memory_stream_pair()
        scope = trio.CancelScope()
        self._connections.append(scope)

        async def serve() -> None:
            with scope:
                await hub.serve(theirs)

        assert hub._nursery is not None, "it runs"
        hub._nursery.start_soon(serve)
        return ours

    def add_worker(
        self, *, column: int | None = None, generation: int = 0, answer: Callable[..., Awaitable[object]] = no_answer
    ) -> Worker:
        """Start one more worker; its `serving` is set once it serves."""
        number = len(self.workers)
        edge = self.compose(self.control)
        member = HubMember(
            {"edge": edge}, "", SECRET, number=number, column=number if column is None else column,
            generation=generation, connect=self.connect,
        )  # fmt: skip
        worker = Worker(member, edge, number, 8, self.limits)
        self.workers.append(worker)
        self._nursery.start_soon(worker.run, answer)
        return worker

    def close(self) -> None:
        """Close the sockets."""
        for each in self._sockets:
            each.close()


@asynccontextmanager
async def open_workers(
    compose: Compose, control: te.ControlPlane | None = None, *, count: int = 2,
    answer: Callable[..., Awaitable[object]] = no_answer, limits: SharedLimits | None = None,
) -> AsyncIterator[Workers]:  # fmt: skip
    """Serve an edge with several workers for the length of the block; all of them serve when it begins."""
    async with trio.open_nursery() as nursery:
        world = Workers(compose, control, nursery, count, limits)
        with without_a_hosts_file(), closing(world):
            await world.start_hub()
            for _ in range(count):
                world.add_worker(answer=answer)
            for worker in world.workers:
                await worker.serving.wait()
            yield world
            nursery.cancel_scope.cancel()


def settings_of(edge: te.Edge) -> Mapping[str, Any]:
    """Give the settings of the services of an edge, by name."""
    return {name: service.settings for name, service in edge.services.items()}
