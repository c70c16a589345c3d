"""The control process: the control planes of all edges, the hub that the workers connect to, and the admin API.

| state | order | action | then |
| --- | --- | --- | --- |
| serving | ``yield`` | accept no worker more: the hub's socket is the successor's | serving |
| serving | ``retire`` | have the old workers hand over, and go to the successor | ending |
| serving | ``end`` | no worker is left | ending |
| serving | the parent is dead | wait until the last worker has gone | ending |
| ending | - | send the last reports | ended |
"""

import signal
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
import trio

from ...edge import Edge
from ...telemetry.level import set_log_level
from ...workers.hub import Hub
from ..exit_code import ExitCode
from .parent import STOPS, Inheritance
from .slots import ProcessState
from .worker import BEAT_SECONDS, exit_code_of


def be_control(
    edges: Mapping[str, Edge],
    found: Inheritance,
    reload: Callable[[], object],
    beside: Callable[[], Awaitable[None]] | None,
) -> int:
    """Be the control process until the parent has it end; give the exit code."""
    structlog.contextvars.bind_contextvars(worker="control")
    found.listening.close_in_child()
    return exit_code_of(lambda: trio.run(ControlProcess(edges, found, reload, beside).run))


class ControlProcess:
    """The control process."""

    def __init__(
        self,
        edges: Mapping[str, Edge],
        found: Inheritance,
        reload: Callable[[], object],
        beside: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Start nothing yet.

        Args:
            edges: by name.
            found: of this process.
            reload: called for the order to reload.
            beside: runs meanwhile, if any.
        """
        self._edges, self._found, self._reload, self._beside = edges, found, reload, beside
        offset = trio.current_time() - time.monotonic()
        limits = {name: found.memory.limits.of(name, found.column, offset) for name in edges}
        self._hub = Hub(edges, found.hub, found.secret, workers=found.workers, limits=limits)
        self._over = trio.Event()

    async def run(self) -> ExitCode:
        """Work until the order to end."""
        ask = trio.lowlevel.current_trio_token().run_sync_soon
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)  # it ends behind its workers, by an order
        signal.signal(signal.SIGHUP, lambda *_: ask(self._reload, idempotent=True))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._found.orders.run)
            nursery.start_soon(self._beats)
            nursery.start_soon(self._follow)
            if self._beside is not None:
                nursery.start_soon(self._beside)
            await nursery.start(self._hub.run)
            self._beat()
            self._found.memory.slots.set_state(self._found.column, ProcessState.READY)
            await self._over.wait()
            await self._hub.finish()
            nursery.cancel_scope.cancel()
        return ExitCode.DRAINED

    def _beat(self) -> None:
        self._found.memory.slots.beat(self._found.column, time.monotonic(), 0, 0)

    async def _beats(self) -> None:
        while True:
            self._beat()
            await trio.sleep(BEAT_SECONDS)

    async def _follow(self) -> None:
        """Follow the parent's orders."""
        while (order := await self._found.orders.next()) is not None:
            match order["do"]:
                case "yield":
                    self._hub.close_socket()
                case "retire":
                    await self._hub.hand_over()
                    self._over.set()
                case "end":
                    self._over.set()
                case "reload":
                    self._reload()
                case "level":
                    set_log_level(order["level"])
        structlog.get_logger("trioedge").error("the parent is dead, so this process ends with the last worker")
        await self._hub.wait_alone()
        self._over.set()
        await trio.sleep_forever()
