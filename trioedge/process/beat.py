"""Tell the service manager, again and again while the event loop runs, how a process with one loop is.

| state | event | then | says |
| --- | --- | --- | --- |
| starting | all edges are ready, or have failed | serving | that it starts; the manager waits on |
| serving | SIGHUP | serving | that it reloads, and then that it is ready |
| serving | the first stop signal | draining | that it is ready, and how many sessions live |
| starting | the first stop signal | draining | |
| draining | - | - | that it stops, and how many sessions are left |

A loop that a stage blocks says nothing, so the manager's watchdog restarts the process.
"""

from collections.abc import Callable

import trio

from . import notify


class Beat:
    """What one process tells the manager; nothing if there is none."""

    def __init__(self, live: Callable[[], int], drain_seconds: float) -> None:
        """Say nothing yet.

        Args:
            live: gives the number of live sessions.
            drain_seconds: the longest time that sessions have after a stop signal.
        """
        self._live, self._drain_seconds = live, drain_seconds
        self._ready = False
        self._drained_by: float | None = None

    def ready(self) -> None:
        """Note that the edges serve, and say so."""
        self._ready = True
        self._say()

    def reload(self, reload: Callable[[], object]) -> None:
        """Call `reload`, and say before that it begins and afterwards that it has ended."""
        notify.reloading()
        try:
            reload()
        finally:
            self._say()

    def drain(self) -> None:
        """Note that the process stops, and say so."""
        self._drained_by = trio.current_time() + self._drain_seconds
        self._say()

    async def run(self) -> None:
        """Speak as often as the manager wants, until cancelled; ends at once if there is none."""
        while notify.is_wanted():
            self._say()
            await trio.sleep(notify.beat_seconds())

    def _say(self) -> None:
        if not notify.is_wanted():
            return
        live = self._live()
        sessions = "1 session lives" if live == 1 else f"{live:,} sessions live"
        if self._drained_by is not None:
            notify.stopping(f"draining, {sessions}", self._drained_by - trio.current_time())
        elif self._ready:
            notify.ready(f"serving, {sessions}")
        else:
            notify.starting("starting: not every edge has its services and its workers yet")
