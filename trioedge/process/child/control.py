"""The control process: the control planes of all edges, the hub that the workers connect to, and the admin API.

| state | order | action | then |
| --- | --- | --- | --- |
| starting | every control plane has given services | be ready | serving |
| starting, serving | ``yield`` | accept no worker and no API client: the sockets are the successor's | the same |
| any | ``retire`` | have the old workers go to the successor | ending |
| any | ``end``: no worker is left | | ending |
| any | the parent is dead | wait until the last worker has gone | ending |
| ending | - | send the last reports, and have the workers know which were acknowledged | ended |
"""

import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
import trio

from ...admin.metrics.collect import control_families
from ...admin.metrics.families import Families
from ...admin.server import AdminServer
from ...edge import Edge
from ...loop.slices import Stepwise
from ...loop.stall import LoopStall
from ...serving.admin_listener import Admin
from ...serving.workers import guarded
from ...telemetry.level import log_level, set_log_level
from ...telemetry.log import EdgeLog
from ...workers.hub import Hub
from ..exit_code import ExitCode
from ..parent.inheritance import Inheritance
from ..signals import STOP_SIGNALS
from ..workers.slots import ProcessState
from .control_admin import HubAsker, HubControl, Restarts
from .worker import BEAT_SECONDS, exit_code_of
from .worker_sockets import ParentsSocket


def be_control(
    edges: Mapping[str, Edge],
    found: Inheritance,
    reload: Callable[[], object],
    beside: Callable[[], Awaitable[None]] | None,
) -> int:
    """Be the control process until the parent has it end; give the exit code."""
    structlog.contextvars.bind_contextvars(worker="control")
    admins = found.listening.for_control()
    return exit_code_of(lambda: trio.run(ControlSide(edges, found, admins, reload, beside).run))


class ControlSide:
    """The control process."""

    def __init__(
        self,
        edges: Mapping[str, Edge],
        found: Inheritance,
        admins: Mapping[str, Sequence[ParentsSocket]],
        reload: Callable[[], object],
        beside: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Start nothing yet.

        Args:
            edges: by name.
            found: what the fork has passed on.
            admins: the sockets of the admin APIs, by edge.
            reload: called for the order to reload.
            beside: runs meanwhile, if any.
        """
        self._edges, self._found, self._reload, self._beside = edges, found, reload, beside
        limits = {name: found.memory.limits.of(name, found.column, 0.0) for name in edges}  # it reads no times there
        self._hub = Hub(edges, found.hub, found.secret, workers=found.workers, limits=limits)
        self._admins = admins
        self._restarts = Restarts(found.orders, found.generation, found.memory.slots, found.workers)
        self._level = log_level()
        self._admin_scope = trio.CancelScope()
        self._over = trio.Event()
        self._stall = LoopStall()

    async def run(self) -> ExitCode:
        """Work until the order to end."""
        ask = trio.lowlevel.current_trio_token().run_sync_soon
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # it ends behind its workers, by an order
        signal.signal(signal.SIGHUP, lambda *_: ask(self._reload_all, idempotent=True))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._found.orders.run)
            nursery.start_soon(self._beats)
            nursery.start_soon(self._stall.run)
            nursery.start_soon(self._follow)
            if self._beside is not None:
                nursery.start_soon(self._beside)
            nursery.start_soon(self._serve_admins)
            nursery.start_soon(self._serve_workers)
            await self._over.wait()
            await self._hub.retire()
            nursery.cancel_scope.cancel()
        return ExitCode.DRAINED

    async def _serve_workers(self) -> None:
        """Serve the workers; this process is ready once each control plane has given services."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._hub.run)
            self._beat()
            self._found.memory.slots.set_state(self._found.column, ProcessState.READY)

    async def _serve_admins(self) -> None:
        """Serve the admin APIs until a successor does, also before there are services."""
        with self._admin_scope:
            async with trio.open_nursery() as nursery:
                for name, edge in self._edges.items():
                    if (admin := edge.description.admin_listener) is not None:
                        nursery.start_soon(self._serve_admin, name, edge, admin)

    async def _serve_admin(self, name: str, edge: Edge, admin: Admin) -> None:
        asker = HubAsker(self._hub, name, self._found.memory.slots)
        controlled = HubControl(self._hub, name, edge, self._end_edge, self._restarts)

        def beside() -> Stepwise[Families]:
            deaths, seconds = self._found.memory.slots.deaths, trio.current_time() - asker.began
            return control_families(self._hub.meters(name), self._stall, deaths, seconds)

        sockets = self._admins.get(name, ())
        server = AdminServer(admin, asker, controlled, EdgeLog(), sockets=sockets, beside=beside)
        await guarded(server.serve, server.log, task_status=trio.TASK_STATUS_IGNORED)

    def _end_edge(self, name: str, seconds: float | None) -> None:
        self._found.orders.send({"say": "end", "edge": name, "seconds": seconds})

    def _reload_all(self) -> None:
        self._reload()
        self._hub.reload()

    def _beat(self) -> None:
        self._found.memory.slots.beat(self._found.column, time.monotonic(), 0)

    async def _beats(self) -> None:
        while True:
            self._beat()
            if (level := log_level()) != self._level:  # the file of the edges says so
                self._level = level
                self._found.orders.send({"say": "level", "level": level})
            await trio.sleep(BEAT_SECONDS)

    async def _follow(self) -> None:
        """Follow the parent's orders."""
        while (order := await self._found.orders.next()) is not None:
            match order["do"]:
                case "yield":
                    self._hub.close_socket()
                    self._admin_scope.cancel()
                case "refused":
                    self._restarts.refused(order["why"])
                case "retire" | "end":
                    self._over.set()
                case "reload":
                    self._reload_all()
                case "level":
                    set_log_level(order["level"])
                    self._level = order["level"]
        structlog.get_logger("trioedge").error("the parent is dead, so this process ends with the last worker")
        await self._hub.wait_alone()
        self._over.set()
        await trio.sleep_forever()
