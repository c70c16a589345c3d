"""The live sessions: sharded by service, indexed by source, so that who must go is found without a scan.

Seed, layer seven: governing one source of one service touches only its own sessions.
"""

from collections.abc import Iterator

from ..session.session import Session
from .services import Services


class Registry:
    """Every live session, found by id, service, source, device, or several of these.

    Adding and removing are O(1); :meth:`matching` costs what it returns, and with a source and a device what the
    smaller of the two holds.
    """

    __slots__ = ("_by_device", "_by_source", "_services", "_sessions", "_shards")

    def __init__(self, services: Services) -> None:
        """Hold no session.

        Args:
            services: told of every session that enters or leaves one of them.
        """
        self._services = services
        self._sessions: dict[int, Session] = {}
        self._shards: dict[str, dict[str, set[Session]]] = {}
        self._by_source: dict[str, set[Session]] = {}
        self._by_device: dict[tuple[str, str], set[Session]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        """Give the live sessions, oldest first, as they are at this moment."""
        return iter(tuple(self._sessions.values()))

    def __contains__(self, session: Session) -> bool:
        return session.id in self._sessions

    def __getitem__(self, session_id: int) -> Session:
        return self._sessions[session_id]

    def get(self, session_id: int) -> Session | None:
        """Give the live session of this id, or None."""
        return self._sessions.get(session_id)

    def add(self, session: Session) -> None:
        """Register a session under the service, source and device it has now."""
        self._enter(session)
        self._sessions[session.id] = session
        session.index = self
        self._services.entered(session.service)

    def remove(self, session: Session) -> None:
        """Forget a session that was added."""
        session.index = None
        self._leave(session)
        del self._sessions[session.id]
        self._services.left(session.service)

    def move(self, session: Session, service: str) -> None:
        """Register a live session under another service; assigning ``session.service`` comes here."""
        if service == session.service:
            return
        session.index = None
        self._leave(session)
        self._services.left(session.service)
        session.service = service
        self._enter(session)
        session.index = self
        self._services.entered(service)
        if session.carrier is not None:
            session.carrier.count_by(self._services.meters(service))

    def identify(self, session: Session, device: str | None) -> None:
        """Register a live session under another device; assigning ``session.device`` comes here."""
        session.index = None
        self._leave_device(session)  # and no other index: who goes through a service's sessions still finds it
        session.device = device
        self._enter_device(session)
        session.index = self

    def sources(self, service: str) -> int:
        """Count the addresses from which a service has live sessions. O(1)."""
        return len(self._shards.get(service, ()))

    def _enter(self, session: Session) -> None:
        source = session.source
        shard = self._shards.get(session.service)
        if shard is None:
            shard = self._shards[session.service] = {}
        for index in (shard, self._by_source):
            sessions = index.get(source)
            if sessions is None:
                index[source] = {session}
            else:
                sessions.add(session)
        self._enter_device(session)

    def _enter_device(self, session: Session) -> None:
        if session.device is not None:
            self._by_device.setdefault((session.service, session.device), set()).add(session)

    def _leave(self, session: Session) -> None:
        source = session.source
        shard = self._shards[session.service]
        for index in (shard, self._by_source):
            sessions = index[source]
            sessions.remove(session)
            if not sessions:
                del index[source]
        if not shard:
            del self._shards[session.service]
        self._leave_device(session)

    def _leave_device(self, session: Session) -> None:
        if session.device is not None:
            key = session.service, session.device
            sessions = self._by_device[key]
            sessions.remove(session)
            if not sessions:
                del self._by_device[key]

    def each(self, service: str) -> Iterator[Session]:
        """Give the live sessions of a service one after the other; those that come meanwhile may be left out."""
        for sessions in tuple(self._shards.get(service, {}).values()):
            for session in tuple(sessions):
                if session.index is self and session.service == service:
                    yield session

    def matching(
        self,
        *,
        service: str | None = None,
        source: str | None = None,
        device: str | None = None,
        session: int | None = None,
    ) -> list[Session]:
        """Give the sessions that match everything named, oldest first; everything named must match.

        Args:
            service: sessions of this service.
            source: sessions of this address, in the form sessions carry it.
            device: sessions of this device; devices are a service's own, so name the service too.
            session: the session with this id.

        Raises:
            TypeError: a device without a service.
        """
        if device is not None:
            if service is None:
                raise TypeError("a device is looked up within a service: name the service too")
            found = sorted(self._by_device.get((service, device), ()), key=_age)
            return [each for each in found if source in (None, each.source) and session in (None, each.id)]
        if session is not None:
            one = self._sessions.get(session)
            if one is None or service not in (None, one.service) or source not in (None, one.source):
                return []
            return [one]
        if service is not None:
            shard = self._shards.get(service, {})
            groups = shard.values() if source is None else (shard.get(source, ()),)
            return sorted((each for group in groups for each in group), key=_age)
        return sorted(self._by_source.get(source, ()) if source is not None else (), key=_age)


def _age(session: Session) -> int:
    return session.id
