"""The sessions that were accepted: a record of each, for observers."""

from collections.abc import Callable

import attrs

from ..session.session import Session
from .records import Records


@attrs.frozen(slots=True)
class SessionStart:
    """One session that was accepted; a record that cannot be changed.

    Attributes:
        id: of the session; unique in one run of an edge.
        listener: the address it was accepted on.
        peer: the address that connected.
        source: the client's address, as far as it is known before a handshake or a middleware says another one.
        service: the name of its service by then; empty if a control plane names the services and no stage has yet.
        started_at: in seconds of the edge's clock.
    """

    id: int
    listener: str
    peer: str
    source: str
    service: str
    started_at: float


class Starts(Records[SessionStart]):
    """The queue of these records."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(SessionStart)

    def recording(self, register: Callable[[Session], object]) -> Callable[[Session], object]:
        """Give a function that registers a session and records it; `register` itself if there is no reader now."""
        if not self.read:
            return register
        put = self.put

        def record(session: Session) -> None:
            register(session)
            put(session.id, session.listener, session.peer, session.source, session.service.name, session.started_at)

        return record
