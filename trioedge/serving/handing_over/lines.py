"""The line between two workers of a session that one has accepted and the other one carries.

There is one where a stage in front of the handshake has deferred something, such as the count of a limit. The first
worker keeps that until the session has ended.

| in the worker | event | action |
| --- | --- | --- |
| that carries it | the session ends | write its outcome and its bytes; close |
| that carries it | a reason comes | cut the session |
| that carries it | the other end is closed | the first worker has died: forget the line |
| that accepted it | the outcome comes | run the clean-ups |
| that accepted it | the other end is closed without a word | the carrying worker has died: run the clean-ups |
| that accepted it | a stage cuts the session | write the reason |
| that accepted it | its run ends | run the clean-ups |

While the session waits in an inbox its end of the line is there, too, so nothing is lost if a worker dies meanwhile. A
line is a socket pair of packets.
"""

import pickle
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ...loop.reactor import Reactor
from ...loop.sockets import close
from ...session.session import Session
from ...session.verdict import Completed, Outcome, Reason
from ..handshaking.talking import Talking

MAX_BYTES: Final = 65_536
"""Of a packet."""

_DEAD: Final = Completed(Reason.RESET, "the worker that carried it has died")


class Away(Talking):
    """The carrier of a session that another worker carries; it has the bytes of the session when that has ended."""

    __slots__ = ("_ended", "_line", "_reactor", "_session", "bytes_down", "bytes_up")

    phase = "handling"

    def __init__(
        self,
        session: Session,
        line: socket.SocketType,
        reactor: Reactor,
        ended: Callable[["Away", Session, Outcome], object],
    ) -> None:
        """Wait for the end of a session.

        Args:
            session: it is not registered any more.
            line: non-blocking; this object closes it.
            reactor: watches it.
            ended: called once, with the outcome.

        Raises:
            OSError: the kernel has no memory to watch the line, which is closed.
        """
        self._session: Session | None = session
        self._line, self._reactor, self._ended = line, reactor, ended
        self.bytes_up = self.bytes_down = 0
        try:
            reactor.add_reader(line.fileno(), self)
        except OSError:
            close(line)
            raise

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        said = b""
        for _ in range(2):  # an end that closes with a reason unread is an error first, before its last packet
            try:
                said = self._line.recv(MAX_BYTES)
                break
            except BlockingIOError:
                return
            except OSError:
                continue
        outcome: Outcome = _DEAD
        if said:
            outcome, self.bytes_up, self.bytes_down = pickle.loads(said)  # of a worker that has the same parent
        self.end(outcome)

    def cut(self, reason: Reason) -> None:
        """Have the other worker cut it."""
        with suppress(OSError):  # it has ended
            self._line.send(reason.encode())

    def end(self, outcome: Outcome) -> None:
        """Wait no more."""
        session = self._session
        if session is not None:
            self.drop()
            self._ended(self, session, outcome)

    def drop(self) -> None:
        """Wait no more, because the session stays here."""
        self._session = None
        self._reactor.remove(self._line.fileno())
        close(self._line)

    def crashed(self, fault: BaseException) -> None:  # noqa: ARG002 - the reactor has logged it
        self.end(_DEAD)


class Guest:
    """The end of the line in the worker that carries the session."""

    __slots__ = ("_line", "_reactor", "_session")

    def __init__(self, session: Session, line: socket.SocketType, reactor: Reactor) -> None:
        """Tell the first worker when a session has ended.

        Args:
            session: without clean-ups yet, so that the first worker hears of the end behind all of them.
            line: non-blocking; this object closes it.
            reactor: watches it.
        """
        self._line, self._reactor, self._session = line, reactor, session
        with suppress(OSError):  # the kernel has no memory: a cut there is not heard of here
            reactor.add_reader(line.fileno(), self)
        session.defer(self._tell)

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        try:
            said = self._line.recv(MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self._session.cut(Reason(said.decode()))
        else:
            self._reactor.remove(self._line.fileno())

    def crashed(self, fault: BaseException) -> None:
        """Go on; the reactor has logged the exception."""

    def _tell(self, session: Session) -> None:
        self._reactor.remove(self._line.fileno())
        with suppress(OSError):  # the first worker has died, or its run has ended
            self._line.send(pickle.dumps((session.outcome, session.bytes_up, session.bytes_down)))
        close(self._line)
