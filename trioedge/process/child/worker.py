"""A worker: whole edges in a process of its own, whose control plane is the control process."""

import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import structlog
import trio

from ...admin.local import Local
from ...admin.operations import LOCAL
from ...edge import Edge, local_of, serve_part
from ...errors import ConfigurationError, ListenError
from ...loop.slices import in_slices
from ...loop.stall import LoopStall
from ...serving.part import Part
from ...telemetry.level import set_log_level
from ...telemetry.line_writer import flush_all
from ...telemetry.tracebacks import detached
from ...workers.member import HubMember
from ..exit_code import ExitCode
from ..one_fault import one_fault
from ..parent.inheritance import Inheritance
from ..signals import STOP_SIGNALS
from ..together import Together
from ..workers.slots import ProcessState
from .control_admin import answered_here
from .worker_sockets import WorkerSockets

BEAT_SECONDS: Final = 0.25
"""Between two notes that the event loop runs."""


def be_worker(edges: Mapping[str, Edge], found: Inheritance) -> int:
    """Be a worker until the parent has it drain, or is dead; give the exit code."""
    structlog.contextvars.bind_contextvars(worker=found.number)
    hub = found.hub.getsockname()
    found.hub.close()
    sockets = found.listening.for_worker(found.number, found.orders)

    async def serve() -> ExitCode:
        return await WorkerProcess(edges, found, sockets, hub).run()

    return exit_code_of(lambda: trio.run(serve))


def exit_code_of(serve: Callable[[], ExitCode]) -> int:
    """Serve in a child, and give its exit code; an exception is logged."""
    log = structlog.get_logger("trioedge")
    try:
        return int(one_fault(serve))
    except ConfigurationError as error:
        log.error("edge cannot start", error=str(error))
        return ExitCode.LISTEN if isinstance(error, ListenError) else ExitCode.CONFIGURATION
    except BaseException as fault:
        log.critical("edge failed", traceback=detached(fault))
        return ExitCode.FAULT
    finally:
        flush_all()


class WorkerProcess:
    """One worker."""

    def __init__(
        self, edges: Mapping[str, Edge], found: Inheritance, sockets: Mapping[str, WorkerSockets], hub: str | bytes
    ) -> None:
        """Serve nothing yet; call it within the Trio run.

        Args:
            edges: by name.
            found: what the fork has passed on.
            sockets: by edge.
            hub: the address of the control process.
        """
        self._edges, self._found, self._sockets = edges, found, sockets
        self._sources = found.listening.sources_for(found.number, found.memory.slots, found.column, found.stall_seconds)
        self._member = HubMember(
            edges, hub, found.secret, number=found.number, column=found.column, generation=found.generation
        )
        serves = {name: partial(self._serve, name, edge) for name, edge in edges.items()}
        self._together = Together(serves, self._settled)
        self._left = set(edges)
        self._locals: dict[str, Local] = {}  # of those that serve
        self._stall = LoopStall()

    def _part(self, name: str) -> Part:
        found = self._found
        return Part(
            number=found.number,
            count=found.workers,
            column=found.column,
            columns=found.memory.columns,
            limits=found.memory.limits.of(name, found.column, trio.current_time() - time.monotonic()),
            control=self._member.control(name),
            sockets=self._sockets[name],
            steered=self._sockets[name].steered,
            sources=self._sources.get(name),
        )

    async def _serve(self, name: str, edge: Edge, *, task_status: trio.TaskStatus[Edge]) -> int:
        """Serve an edge; where it has an admin API, the ends of its sessions are kept."""
        async with trio.open_nursery() as nursery:
            if edge.description.admin_listener is not None:
                nursery.start_soon(self._record, name)
            cut = await serve_part(edge, self._part(name), task_status=task_status)
            nursery.cancel_scope.cancel()
        return cut

    async def _record(self, name: str) -> None:
        await self._edges[name].phase.wait_value(lambda phase: phase != "idle")
        with self._local(name).recording():
            await trio.sleep_forever()

    def _settled(self, name: str) -> None:
        """Note an edge that is ready or has failed."""
        self._left.discard(name)
        self._sockets[name].close_kept()
        if not self._left:
            self._beat()
            self._found.memory.slots.set_state(self._found.column, ProcessState.READY)

    async def run(self) -> ExitCode:
        """Serve until the orders to drain, or the death of the parent."""
        ask = trio.lowlevel.current_trio_token().run_sync_soon
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: ask(self._drain, idempotent=True))
        signal.signal(signal.SIGHUP, lambda *_: ask(self._reload, idempotent=True))
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as around:
                around.start_soon(self._found.orders.run)
                around.start_soon(self._beats)
                around.start_soon(self._stall.run)
                around.start_soon(self._follow)
                await around.start(self._member.run, self._answer)
                await self._together.serve()
                around.cancel_scope.cancel()
        return self._together.code()

    async def _answer(self, edge: str, operation: str, parameters: Any) -> Any:
        """Answer a question of the admin API about this worker."""
        await self._edges[edge].phase.wait_value(lambda phase: phase != "idle")
        value = await in_slices(LOCAL[operation](self._local(edge), parameters))
        return answered_here(self._found.column, value)

    def _local(self, name: str) -> Local:
        """Give an edge that has begun to serve, as the admin API sees it."""
        if name not in self._locals:
            self._locals[name] = local_of(self._edges[name], self._found.number, self._stall)
        return self._locals[name]

    async def _beats(self) -> None:
        while True:
            self._beat()
            await trio.sleep(BEAT_SECONDS)

    def _beat(self) -> None:
        live = sum(len(edge.sessions) for edge in self._edges.values())
        self._found.memory.slots.beat(self._found.column, time.monotonic(), live)

    async def _follow(self) -> None:
        """Follow the parent's orders."""
        while (order := await self._found.orders.next()) is not None:
            match order["do"]:
                case "listen":
                    self._sockets[order["edge"]].listens.set()
                case "drain":
                    self._drain(order.get("seconds"), order.get("edge"))
                case "cut":
                    self._together.cut += sum(len(edge.sessions) for edge in self._edges.values())
                    self._scope.cancel()
                case "reload":
                    self._reload()
                case "level":
                    self._set_level(order["level"])
        structlog.get_logger("trioedge").error("the parent is dead, so this worker drains")
        self._drain()
        await trio.sleep_forever()

    def _set_level(self, level: str) -> None:
        set_log_level(level)
        for edge in self._edges.values():
            edge.relevel()

    def _reload(self) -> None:
        for edge in self._edges.values():
            edge.reload()

    def _drain(self, seconds: float | None = None, only: str | None = None) -> None:
        """Drain one edge, or all of them."""
        if only is None:
            self._found.memory.slots.set_state(self._found.column, ProcessState.DRAINING)
        if all(edge.phase.value == "idle" for edge in self._edges.values()):  # none has begun
            self._scope.cancel()
            return
        for name, edge in self._edges.items():
            if only in (None, name) and edge.phase.value != "idle":
                self._sockets[name].drain()
                self._local(name).run.drain(seconds)
