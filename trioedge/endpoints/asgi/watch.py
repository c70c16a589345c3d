"""The deadline of one session of an application: it looks whether a limit of `patience` has passed.

It looks when a limit may have passed, and more often while the client's host has bytes to acknowledge, because only the
kernel knows that a slow client takes some.
"""

from math import inf
from typing import Final, Protocol

from ...loop.reactor import Reactor
from ...relay.idle import idle_limit
from ...session.session import Session
from ...session.verdict import Completed, Outcome, Reason
from ...structures.deadlines import NEVER
from .client_side import ClientSide
from .patience import GONE_SECONDS, Moment, Patience, Wait, due

LOOKS: Final = 8
"""How often in the time of a limit the kernel is asked whether a slow client takes bytes."""


class Watched(Protocol):
    """The connection, as its watch sees it."""

    def rest(self) -> None:
        """End the session in order, unless a request is under way."""

    def stop(self, outcome: Outcome, /) -> None:
        """End the session now, with a reset."""


class Watch:
    """The watch of one session.

    Attributes:
        busy: how many requests are under way.
        over_at: when the client left, or was left; None before.
    """

    __slots__ = ("_asked_at", "_client", "_delivered_at", "_due", "_limits", "_reactor", "_rested_at", "_session",
                 "_tick", "_unacknowledged", "_watched", "busy", "over_at")  # fmt: skip

    def __init__(
        self, watched: Watched, session: Session, client: ClientSide, limits: Patience, reactor: Reactor
    ) -> None:
        """Look for the first time when the limit of the first request has passed; :meth:`close` ends it.

        Args:
            watched: the connection.
            session: has the idle limits.
            client: says when bytes moved.
            limits: of the endpoint.
            reactor: has the clock and the deadlines.
        """
        self._watched, self._session, self._client = watched, session, client
        self._limits, self._reactor = limits, reactor
        self.busy = 0
        self.over_at: float | None = None
        self._rested_at: float | None = None
        self._asked_at = self._delivered_at = client.began_at
        self._unacknowledged = 0
        self._due, self._tick = inf, NEVER
        self._look_by(client.began_at + limits.head_seconds)

    @property
    def is_fresh(self) -> bool:
        """Whether the client has made no request yet."""
        return not self.busy and self._rested_at is None

    def begun(self) -> None:
        """Note that a request has begun."""
        self.busy += 1
        self._look_by(self._client.active_at + self._session.idle_seconds)

    def completed(self) -> None:
        """Note that a request is complete."""
        self.busy -= 1
        if not self.busy:
            self._rested_at = self._reactor.refresh()
            self._look_by(self._rested_at + self._limits.keep_alive_seconds)

    def half_closed(self) -> None:
        """Note that the client has sent its last byte."""
        self._look_by(self._client.active_at + idle_limit(self._session, half_closed=True))

    def owes(self) -> None:
        """Note that the client does not take all bytes at once."""
        limit = min(self._limits.write_seconds, self._session.idle_seconds)
        self._look_by(self._client.active_at + limit / LOOKS)

    def left(self) -> None:
        """Note that the client left, or was left; a second call does nothing."""
        if self.over_at is None:
            self.over_at = self._reactor.refresh()
            self._look_by(self.over_at + GONE_SECONDS)

    def close(self) -> None:
        """Look no more; the last call."""
        self._reactor.drop_deadline(self, self._tick)
        del self._watched, self._session, self._client

    def expire(self, now: float) -> None:
        """End the session if its limit has passed; else look again later."""
        client, self._due = self._client, inf
        self._ask_kernel(now)
        moment = Moment(
            began_at=client.began_at,
            active_at=max(client.active_at, self._delivered_at),
            rested_at=None if self._rested_at is None else max(self._rested_at, self._delivered_at),
            busy=self.busy > 0,
            owes=client.owes,
            paused=client.paused > 0,
            over_at=self.over_at,
            idle_seconds=idle_limit(self._session, half_closed=client.ended),
        )
        at, wait, limit = due(self._limits, moment, now)
        if at > now:
            slow = self._unacknowledged or moment.owes
            soon = limit / LOOKS if slow else self._session.half_closed_seconds  # the limits may change meanwhile
            self._look_by(min(at, now + soon))
        elif wait is Wait.KEEP_ALIVE:
            self._watched.rest()
        else:
            reason = Reason.RESET if wait is Wait.GONE else Reason.IDLE
            self._watched.stop(Completed(reason, wait.value.format(limit)))

    def crashed(self, fault: BaseException) -> None:  # noqa: ARG002 - the reactor has logged it
        """End the session after an exception in :meth:`expire`."""
        self._session.cut(Reason.FAULT)

    def _ask_kernel(self, now: float) -> None:
        """Note whether a slow client took bytes out of the kernel since the last look."""
        client = self._client
        moved = client.active_at >= self._asked_at
        before, self._unacknowledged = self._unacknowledged, client.unacknowledged()
        if not moved and self._unacknowledged != before:
            self._delivered_at = now
        self._asked_at = now

    def _look_by(self, due: float) -> None:
        """Look then, unless it will be done earlier."""
        if due < self._due:
            self._reactor.drop_deadline(self, self._tick)
            self._due, self._tick = due, self._reactor.set_deadline(self, due)
