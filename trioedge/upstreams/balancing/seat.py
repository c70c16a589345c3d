"""One session's place at a member of a balanced destination: the upstream of this session alone.

| a seat is | event | action |
| --- | --- | --- |
| new | the session begins | its member counts it |
| connecting | connected | the member is well; give the socket to the callback |
| connecting | the member fails, another one is left, and so is time | the other member counts it; connect to that |
| connecting | the last member fails, or the fault is not the member's | give the error to the callback |
| any | the session ends | its member counts it no more |

No byte is sent before the callback has the socket, so asking another member repeats nothing.
"""

import socket
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from ...addresses.address import Address
from ...errors import quote_fault
from ...session.session import Session
from ...session.verdict import Reason
from ...telemetry.log import parted
from ..attempt import Attempt, ConnectCallback
from ..errors import UpstreamError
from ..introduction import Introduction
from ..upstream import Bounds

if TYPE_CHECKING:
    from .live_balanced import LiveBalanced, LiveMember

FAULTS_OF_A_MEMBER: Final = frozenset(
    {
        Reason.UPSTREAM_REFUSED, Reason.UPSTREAM_TIMEOUT, Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_UNRESOLVED,
        Reason.UPSTREAM_TLS,
    }
)  # fmt: skip
"""Failures of which another member may know nothing. The others are this machine's, or the outbound's."""


class Seat:
    """What :class:`.Upstream` is to other sessions."""

    __slots__ = ("_attempt", "_balanced", "_callback", "_due", "_session", "_tried", "member")

    def __init__(self, balanced: "LiveBalanced", session: Session, member: "LiveMember") -> None:
        """Count a session at a member until the session ends."""
        self._balanced = balanced
        self._session: Session | None = session
        self.member = member
        self._tried: tuple[LiveMember, ...] = (member,)
        self._due = inf  # set by the first connect
        self._callback: ConnectCallback | None = None
        self._attempt: Attempt | None = None
        member.sessions += 1
        member.opened += 1
        session.defer(self._leave)

    def _leave(self, _: Session) -> None:
        self.member.sessions -= 1
        self._session = self._callback = None

    @property
    def destination(self) -> Address:
        """The address of the member."""
        return self.member.upstream.destination

    @property
    def local(self) -> bool:
        """Whether the member is a local socket."""
        return self.member.upstream.local

    @property
    def plain(self) -> bool:
        """Whether :meth:`start` gives a bare socket."""
        return self.member.upstream.plain

    @property
    def introduction(self) -> Introduction | None:
        """Introduces the session to the member; None if that gets the client's bytes alone."""
        return self.member.upstream.introduction

    @property
    def preconnect(self) -> int:
        """Idle connections to the member that are kept."""
        return self.member.upstream.preconnect

    def take(self) -> tuple[socket.SocketType, bool] | None:
        """Take an idle connection to the member; None if there is none."""
        return self.member.upstream.take()

    def released(self, session: object) -> None:
        """Replace the idle connection that the session took."""
        self.member.upstream.released(session)

    def connect_at_once(self) -> socket.SocketType | None:
        """Connect to a member on this machine that takes a connection at once; None for any other."""
        made = self.member.upstream.connect_at_once()
        if made is not None:
            self._balanced.connected(self.member)
        return made

    def start(self, callback: ConnectCallback) -> "Seat":
        """Begin to connect a plain socket, to one member after the other; :meth:`cancel` ends it."""
        self._callback = callback
        self._begin()
        return self

    def cancel(self) -> None:
        """End the connect; the callback is not called any more."""
        self._callback = None
        if self._attempt is not None:
            self._attempt.cancel()
            self._attempt = None

    def connected(self, sock: socket.socket, readable: bool) -> None:
        self._balanced.connected(self.member)
        callback, self._callback, self._attempt = self._callback, None, None
        assert callback is not None, "a cancel ends the attempt"
        callback.connected(sock, readable)

    def failed(self, error: UpstreamError) -> None:
        self._attempt = None
        try:
            if self._goes_on(error):
                self._begin()
                return
        except BaseException as fault:  # the kernel has no memory left to watch a socket, say
            if parted(fault)[0] is not None:
                raise
            error = UpstreamError(Reason.FAULT, f"{self.destination}: {quote_fault(fault)}")
        if self._callback is not None:
            callback, self._callback = self._callback, None
            callback.failed(error)

    def _begin(self) -> None:
        tried = self._tried
        attempt = self.member.upstream.start(self, self._bounds())
        if tried is self._tried and self._callback is not None:  # else it has failed already, and another one goes on
            self._attempt = attempt

    async def open_stream(self, session: Session) -> trio.abc.HalfCloseableStream:
        """Connect a stream for the session, to one member after the other; after a cancel nothing is left open.

        Raises:
            UpstreamError: there is no connection.
        """
        while True:
            try:
                stream = await self.member.upstream.open_stream(session, self._bounds())
            except UpstreamError as error:
                if not self._goes_on(error):
                    raise
            else:
                self._balanced.connected(self.member)
                return stream

    def unreached(self, error: UpstreamError, service: str) -> None:
        """Log that the last connect failed."""
        self.member.upstream.unreached(error, service)

    def _bounds(self) -> Bounds:
        """Give the bounds of the next connect."""
        balanced = self._balanced
        now = balanced.now()
        if self._due == inf:
            self._due = now + balanced.seconds
        left = self._due - now
        if len(self._tried) < balanced.tries and balanced.has_other(self._tried):
            return Bounds(min(left, balanced.try_seconds), 0)
        return Bounds(left, balanced.retries)

    def _goes_on(self, error: UpstreamError) -> bool:
        """Note the failure of the member, and go on to another one; False if the session fails."""
        if error.reason not in FAULTS_OF_A_MEMBER:
            return False
        balanced, session = self._balanced, self._session
        balanced.failed(self.member, error)
        if session is None or len(self._tried) >= balanced.tries or balanced.now() >= self._due:
            return False
        other = balanced.choose(session, self._tried)
        if other is None:
            return False
        self.member.upstream.unreached(error, session.service.name)
        self.member.sessions -= 1
        self.member, self._tried = other, (*self._tried, other)
        other.sessions += 1
        other.opened += 1
        session.lead_to(other.upstream.destination)
        return True
