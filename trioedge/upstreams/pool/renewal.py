"""Idle connections follow the answer for their name: when it expires, it is asked for again."""

import socket
from collections.abc import Callable
from math import inf
from typing import Final

from ...addresses.address import packed_ip
from ...loop.reactor import Reactor
from ...session.verdict import Reason
from ..connector import Connecting, Resolves, Target
from ..errors import UpstreamError
from ..resolver import Answer, local_answer

MIN_RENEWAL_SECONDS: Final = 1.0
"""The shortest time between two renewals."""


class Renewal:
    """Renews the addresses of a target from its first connection on.

    Attributes:
        due: when to call :meth:`begin`, by the reactor's clock. Infinity for an address, for a connector whose
            sockets lead elsewhere, and while an answer is awaited.
    """

    def __init__(
        self, connector: Connecting, target: Target, reactor: Reactor, renewed: Callable[[set[bytes | None]], object]
    ) -> None:
        """Ask for nothing yet.

        Args:
            connector: resolves the name, if it is one that :class:`.Resolves`.
            target: has the name.
            reactor: the clock.
            renewed: called with the packed IP addresses of a renewed answer; with none if the name has none.
        """
        known = local_answer(target.address) is not None
        self._names = connector if isinstance(connector, Resolves) and not known else None
        self._target = target
        self._reactor = reactor
        self._renewed = renewed
        self._asking = False
        self.due = inf

    def peer_of(self, sock: socket.SocketType) -> str:
        """Give the IP address of a new connection, and watch its answer; an empty text where that does not matter."""
        if self._names is None:
            return ""
        if not self._asking and self.due == inf:
            self.due = self._names.fresh_until(self._target)
        try:
            return str(sock.getpeername()[0])
        except OSError:  # it was reset meanwhile
            return ""

    def begin(self, now: float) -> None:
        """Ask for the addresses if it is time."""
        if self._names is not None and now >= self.due:
            self._asking, self.due = True, inf
            self._names.resolve(self._target, self._answered)

    def _answered(self, answer: Answer) -> None:
        assert self._names is not None
        self._asking = False
        self.due = max(self._names.fresh_until(self._target), self._reactor.now + MIN_RENEWAL_SECONDS)
        if isinstance(answer, UpstreamError) and answer.reason is Reason.CAPACITY:
            return  # it comes at once, before the caller reads `due`, and says nothing of the addresses
        addresses = () if isinstance(answer, UpstreamError) else answer
        self._renewed({packed_ip(where[0]) for _, where in addresses})  # type: ignore[index]  # host and port
