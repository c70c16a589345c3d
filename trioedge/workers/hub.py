"""The hub: the control process of several workers, as these see it.

A worker may come and go, and come again. Its totals are remembered while its process lives, and forgotten once another
process has its column in the shared tables.

| a worker is | event | action |
| --- | --- | --- |
| unknown | it connects | give it the services; take its devices and reports |
| connected | its connection ends | wait for it |
| waited for | it connects again | end the devices that it has no more |
| waited for | some seconds are over | end its devices; take off its live sessions |
| any | another process with its column connects | forget it; its totals stay |
"""

import os
import secrets
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Final

import trio

from ..control.supervisor import ControlState
from ..services.snapshot import Plan, Snapshot
from ..telemetry.log import EdgeLog, parted
from ..telemetry.meters import Meters
from .answers import WorkerAnswers, WorkerQuestions
from .connection import WorkerConnection
from .hub_edge import HubEdge
from .life import Life
from .messages.frames import Frames
from .messages.greeting import Hello, Welcome, welcome

if TYPE_CHECKING:
    from ..edge import Edge
    from ..structures.shared.limits import EdgeLimits

LOST_SECONDS: Final = 2.0
"""How long a worker that is not connected keeps its devices and its live sessions."""

LAST_SECONDS: Final = 4.0
"""For the last reports and what the workers are to know of them: the parent kills a control process after 5 s."""

MAX_LAST_REPORTS: Final = 10
"""Rounds of reports before a control process ends; busy workers tell new totals meanwhile."""

MAX_STRANGERS: Final = 64
"""Connections that have not greeted yet; further ones wait."""

_RETRY_SECONDS: Final = 0.1

_CREDENTIALS: Final = struct.Struct("iII")  # of a peer: its process, user and group, as in socket(7)


class Hub:
    """The control process of several workers."""

    def __init__(
        self, edges: "Mapping[str, Edge]", sock: socket.socket, secret: bytes, *, workers: int,
        limits: "Mapping[str, EdgeLimits] | None" = None,
    ) -> None:  # fmt: skip
        """Start nothing; :meth:`run` does.

        Args:
            edges: by name, composed as in the workers.
            sock: a local stream socket that is bound and listens; the caller closes it.
            secret: the 32 bytes with which workers greet.
            workers: their number, for questions that all of them answer.
            limits: of each edge over all workers, in the column of this process; None where they share no memory.
        """
        self._sock, self._secret = sock, secret
        first = int(time.time()) << 20  # no earlier control process has given incarnations of this second
        self._welcome = Welcome(secrets.token_hex(8), first)
        self._log = EdgeLog()
        self._edges = {
            name: HubEdge(name, edge, first, None if limits is None else limits[name], workers)
            for name, edge in edges.items()
        }
        self._lives: dict[int, Life] = {}
        self._questions = WorkerQuestions(workers, self._log)
        self._nursery: trio.Nursery | None = None
        self._accepting = trio.CancelScope()
        self._strangers = trio.Semaphore(MAX_STRANGERS)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve workers until cancelled; started once every edge has its first snapshot.

        Raises:
            ConfigurationError: a control plane can never have one.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                if self._sock.fileno() >= 0:  # else another control process has come before this one began
                    listener = trio.socket.from_stdlib_socket(self._sock)
                    nursery.start_soon(self._accept, listener, self._accepting)
                async with trio.open_nursery() as starting:
                    for edge in self._edges.values():
                        starting.start_soon(nursery.start, edge.run)
                task_status.started()
        finally:
            self._nursery = None

    async def finish(self) -> None:
        """Send the reports that are due, within 2 s; call it before the cancel of :meth:`run`."""
        async with trio.open_nursery() as nursery:
            for edge in self._edges.values():
                nursery.start_soon(edge.supervisor.finish)

    def close_socket(self) -> None:
        """Accept no worker more: another control process does, on the same socket."""
        self._accepting.cancel()
        self._sock.close()

    async def retire(self) -> None:
        """Send the reports that are due, have every worker know which were acknowledged, and hang up.

        The workers count for another control process from there on. Totals that come between the last report and the
        end of a connection are not answered, so the worker tells the other one. Call it before the cancel of
        :meth:`run`.
        """
        with trio.move_on_after(LAST_SECONDS):
            for _ in range(MAX_LAST_REPORTS):
                await self.finish()
                await _settle(self._edges.values(), [each for each in self._lives.values() if each.channel is not None])
                if not any(edge.supervisor.state().unreported for edge in self._edges.values()):
                    break
        for life in self._lives.values():
            life.scope.cancel()

    async def wait_alone(self) -> None:
        """Wait until no worker is connected."""
        while any(life.channel is not None for life in self._lives.values()):  # noqa: ASYNC110 - seldom
            await trio.sleep(_RETRY_SECONDS)

    async def _accept(self, listener: trio.socket.SocketType, accepting: trio.CancelScope) -> None:
        assert self._nursery is not None, "it runs"
        with accepting:
            await self._accept_all(listener, self._nursery)

    async def _accept_all(self, listener: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while True:
            await self._strangers.acquire()
            try:
                accepted, _ = await listener.accept()
            except OSError as error:
                self._strangers.release()
                self._log.notice("control process cannot accept a worker", error=str(error))
                await trio.sleep(_RETRY_SECONDS)
                continue
            if not _is_own(accepted):
                self._strangers.release()
                accepted.close()
                self._log.notice("a process of another user has connected to the control process")
                continue
            nursery.start_soon(self.serve, trio.SocketStream(accepted), self._strangers.release)

    async def serve(self, stream: trio.abc.Stream, greeted: Callable[[], object] = lambda: None) -> None:
        """Serve a connection until it ends, if it is that of a worker.

        Args:
            stream: it is closed when this returns.
            greeted: called once it is known whether it is a worker.
        """
        frames = Frames(stream)
        try:
            hello = await welcome(frames, self._secret, self._welcome)
        except BaseException:
            await frames.close()
            raise
        finally:
            greeted()
        if hello is None:
            self._log.notice("a stranger has connected to the control process")
            await frames.close()
        else:
            await self._serve(self._life_of(hello), frames)

    def _life_of(self, hello: Hello) -> Life:
        """Find the life of a worker; that of another process with its column is over."""
        life = self._lives.get(hello.column)
        if life is not None and (life.hello.pid, life.hello.generation) == (hello.pid, hello.generation):
            return life
        if life is not None:
            life.scope.cancel()
            for edge in self._edges.values():
                edge.forget(life)
        life = self._lives[hello.column] = Life(hello)
        return life

    async def _serve(self, life: Life, frames: Frames) -> None:
        """Serve a worker until its connection ends; a fault costs the connection."""
        life.scope.cancel()  # an earlier connection, whose end has not been noticed
        connection = WorkerConnection(self._edges, life, self._log)
        life.scope, life.channel = trio.CancelScope(), connection.channel(frames)
        channel = life.channel
        try:
            with life.scope:
                await connection.run(channel)
        except BaseException as raised:
            stop, fault = parted(raised)
            if fault is not None:
                self._log.fault("connection to a worker failed", fault, worker=life.number)
            if stop is not None or fault is None:
                raise
        finally:
            if life.channel is channel:
                life.channel = None
                if self._nursery is not None:
                    self._nursery.start_soon(self._wait_for, life)

    async def _wait_for(self, life: Life) -> None:
        """Wait for a worker whose connection has ended."""
        await trio.sleep(LOST_SECONDS)
        if life.channel is None and self._lives.get(life.hello.column) is life:
            for edge in self._edges.values():
                edge.lost(life)

    # Operators.

    async def ask(self, edge: str, operation: str, params: object) -> WorkerAnswers:
        """Ask every worker, and return their answers within 2 s; 64 questions at a time, further ones wait.

        Args:
            edge: its name.
            operation: as the workers' function knows it.
            params: any value of JSON.

        Returns:
            The answers, also of workers of an earlier generation that drain, and the numbers of the workers that did
            not answer.
        """
        lives = [each for each in self._lives.values() if each.channel is not None]
        return await self._questions.ask(lives, edge, operation, params)

    def past(self, edge: str, columns: Collection[int], service: str) -> dict[str, int]:
        """Give the ``opened``, ``bytes_up`` and ``bytes_down`` of a service in all workers but those of `columns`."""
        return self._edges[edge].past(service, [self._lives[each] for each in columns if each in self._lives])

    def state(self, edge: str) -> ControlState:
        """Give the state of an edge's control plane, and of the workers that follow it."""
        lives = sorted(self._lives.values(), key=lambda life: (life.number, life.hello.generation))
        return self._edges[edge].state(lives)

    def meters(self, edge: str) -> Meters:
        """Give what the control process counts for an edge, its device checks above all."""
        return self._edges[edge].log.meters

    async def plan(self, edge: str, snapshot: Snapshot) -> Plan:
        """Say what a snapshot would do to the services and sessions of an edge; see :meth:`HubLink.plan`."""
        return await self._edges[edge].link.plan(snapshot)

    async def apply(self, edge: str, snapshot: Snapshot) -> Plan:
        """Apply a snapshot to an edge until its control plane's next one; it raises as :meth:`plan` does."""
        return await self._edges[edge].link.apply(snapshot)

    def reload(self) -> None:
        """Ask every control plane to read its source again; see :meth:`Edge.reload`."""
        for edge in self._edges.values():
            edge.reload()


def _is_own(accepted: trio.socket.SocketType) -> bool:
    """Whether a process of this one's user has connected; others must not take the places of those that greet."""
    _, user, _ = _CREDENTIALS.unpack(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return bool(user == os.geteuid())


async def _settle(edges: Iterable[HubEdge], lives: Sequence[Life]) -> None:
    """Have every worker know which totals were acknowledged."""
    for edge, life in product(edges, lives):
        while life.channel is not None and edge.settles(life):  # noqa: ASYNC110 - once in a process, and short
            await trio.sleep(_RETRY_SECONDS)
