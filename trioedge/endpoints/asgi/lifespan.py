"""The lifespan of an application (ASGI Lifespan Protocol 2.0): its start before the edge listens, and its end.

| state | the application | action |
| --- | --- | --- |
| starting | sends ``lifespan.startup.complete`` | started |
| starting | sends ``lifespan.startup.failed`` | end the start of the edge with its message |
| starting | raises or returns | it has no lifespan, says the specification: go on without; a warning if it raised |
| started | raises or returns | log the exception; it is not told of the end |
| started | the edge ends | send ``lifespan.shutdown``; wait until it returns, at most 10 s |
"""

from typing import Final

import trio

from ...errors import ConfigurationError, quote, quote_fault
from ...telemetry.log import EdgeLog, parted
from .messages import Application, Message

STOP_SECONDS: Final = 10.0
"""Seconds that an application has to shut down."""


class Lifespan:
    """The task of an application around all its sessions.

    Attributes:
        state: a dictionary that the application may fill at its start; each request has a copy.
    """

    def __init__(self, application: Application, log: EdgeLog) -> None:
        """Start nothing.

        Args:
            application: the user's.
            log: for exceptions, and for the message of a failed shutdown.
        """
        self.state: Message = {}
        self._application = application
        self._log = log
        self._scope = trio.CancelScope(shield=True)  # it outlives a cancel of the edge, to shut down
        self._answered = trio.Event()  # its start, in any way
        self._started = False
        self._refusal: str | None = None
        self._stopping = trio.Event()
        self._ended = trio.Event()
        self._asked = 0

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the application in `nursery`; return once it has started, however long that takes.

        Raises:
            ConfigurationError: it says that its start failed.
        """
        nursery.start_soon(self._run)
        try:
            await self._answered.wait()
        except BaseException:
            self._scope.cancel()
            raise
        if self._refusal is not None:
            self._scope.cancel()
            raise ConfigurationError(f"Asgi: the application's startup failed: {self._refusal}")

    async def stop(self) -> None:
        """Tell the application that the edge ends, and wait until it returns, at most 10 s; then cancel it."""
        self._stopping.set()
        try:
            if self._started:
                with trio.move_on_after(STOP_SECONDS) as limit:
                    await self._ended.wait()
                if limit.cancelled_caught:
                    self._log.notice("application did not shut down", seconds=STOP_SECONDS)
        finally:
            self._scope.cancel()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        with self._scope:
            try:
                await self._application(scope, self._receive, self._send)
            except BaseException as raised:
                stop, fault = parted(raised)
                if fault is not None:
                    self._note(fault)
                if stop is not None:
                    raise stop from None
            finally:
                self._answered.set()
                self._ended.set()

    def _note(self, fault: BaseException) -> None:
        if self._started:
            self._log.fault("lifespan of the application failed", fault)
        elif self._refusal is None and self._asked:
            self._log.notice("application has no lifespan", error=quote_fault(fault))

    async def _receive(self) -> Message:
        self._asked += 1
        if self._asked == 1:
            await trio.lowlevel.checkpoint()
            return {"type": "lifespan.startup"}
        if self._asked == 2:
            await self._stopping.wait()
            return {"type": "lifespan.shutdown"}
        await trio.sleep_forever()
        raise AssertionError("slept for ever")

    async def _send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        match message["type"]:
            case "lifespan.startup.complete":
                self._started = True
                self._answered.set()
            case "lifespan.startup.failed":
                self._refusal = _last_line(message.get("message", ""))
                self._answered.set()
            case "lifespan.shutdown.complete":
                pass
            case "lifespan.shutdown.failed":
                self._log.notice("application's shutdown failed", says=_last_line(message.get("message", "")))
            case other:
                raise RuntimeError(f"{quote(other)} is no message of a lifespan")


def _last_line(text: str) -> str:
    """Give the last line of a message, because some frameworks send a whole traceback."""
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else "it gave no reason"
