"""Tell the service manager how the parent and its workers are; see :mod:`~trioedge.process.notify`."""

from .. import notify
from .children import Children
from .ending import Ending


class Manager:
    """The parent's words to the service manager; none if there is none."""

    def __init__(self, children: Children, ending: Ending, workers: int) -> None:
        """Say nothing yet.

        Args:
            children: of the parent.
            ending: how far its end is.
            workers: how many there are to be.
        """
        self._children, self._ending, self._workers = children, ending, workers
        self._ready = self._stops = False
        self._due = 0.0

    def reloading(self, now: float) -> None:
        """Say that the children read their sources again."""
        notify.reloading()
        self._say(now)

    def turn(self, now: float) -> None:
        """Speak as often as the manager wants; call it at least each 0.1 s."""
        if not notify.is_wanted():
            return
        began = not self._ready and len(self._children.ready_workers()) >= self._workers
        stops = bool(self._ending.stops) and not self._stops
        self._ready, self._stops = self._ready or began, self._stops or stops
        if began or stops or now >= self._due:
            self._say(now)

    def _say(self, now: float) -> None:
        self._due = now + notify.beat_seconds()
        live = self._children.live()
        sessions = "1 session lives" if live == 1 else f"{live:,} sessions live"
        if self._ending.stops:
            notify.stopping(f"draining, {sessions}", self._ending.seconds_left(now))
        elif self._ready:
            there = len(self._children.ready_workers())
            notify.ready(f"serving by {there} of {self._workers} workers, {sessions}")
        else:
            notify.starting("starting: the workers do not accept clients yet")
