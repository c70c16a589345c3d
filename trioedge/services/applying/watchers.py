"""The objects that follow changes of services, and the guard of their exceptions."""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from ...errors import ENDS, quote
from ...session.session import Session
from ..policy import Settings
from ..service import Service
from ..snapshot import Change, Foreseeing, Settling, Watcher

if TYPE_CHECKING:
    from ...telemetry.log import EdgeLog


class Watchers:
    """Every :class:`Watcher` of a run of an edge. An exception of one is logged, and the others are called."""

    __slots__ = ("_log", "_watchers")

    def __init__(self, log: "EdgeLog | None") -> None:
        """Start without watchers.

        Args:
            log: logs the exceptions of watchers; without one they are raised.
        """
        self._log = log
        self._watchers: list[Watcher] = []

    def add(self, watcher: Watcher) -> None:
        """Notify `watcher` of every change from now on, before the watchers that came earlier."""
        self._watchers.append(watcher)

    def foresee(self, service: Service, after: Settings | None) -> Iterator[Session | None]:
        """Give the live sessions that watchers would cut under these settings, in short steps.

        Args:
            service: a named one.
            after: its new settings; None if it is to be removed.

        Yields:
            A session, maybe one that another watcher gave already; or None, as a place to stop.
        """
        for watcher in self._watchers:
            if isinstance(watcher, Foreseeing):
                try:
                    for session in watcher.foresee(service, after):
                        if session is not None and not isinstance(session, Session):
                            raise TypeError(f"foresee gave {quote(session)}; it must give sessions and None")
                        yield session
                except ENDS:
                    raise
                except BaseException as fault:
                    self._failed(watcher, fault, method="foresee", service=service.name)

    def notify(self, service: Service, change: Change) -> Generator[None, None, None]:
        """Notify the watchers of a change that was applied, in short steps; the last watcher first.

        The last one is the endpoint: sessions must go to another upstream at once, and judging devices may take long.
        """
        for watcher in reversed(self._watchers):
            try:
                yield from watcher.changed(service, change) or ()
            except ENDS:
                raise
            except BaseException as fault:
                self._failed(watcher, fault, method="changed", service=service.name)

    def settle(self) -> Generator[None, None, None]:
        """Notify the watchers that every change of a snapshot was applied, in short steps."""
        for watcher in self._watchers:
            if isinstance(watcher, Settling):
                try:
                    yield from watcher.settle()
                except ENDS:
                    raise
                except BaseException as fault:
                    self._failed(watcher, fault, method="settle")

    def _failed(self, watcher: Watcher, fault: BaseException, **facts: str) -> None:
        """Log an exception of a watcher, which must not stop the applying of a snapshot."""
        if self._log is None:
            raise fault
        self._log.fault("watcher failed", fault, watcher=name_of_code(watcher), **facts)


def name_of_code(code: object) -> str:
    """Return the name of a function or a method, or of the class of another object."""
    named = code if hasattr(code, "__qualname__") else type(code)
    return str(named.__qualname__)
