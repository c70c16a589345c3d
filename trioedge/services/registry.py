"""The live sessions, sharded by service and indexed by source and device, so that an eviction scans nothing else."""

from collections.abc import Iterator

from ..session.session import Session
from .service import Service
from .services import Services


class Registry:
    """Every live session, found by id, service, source, device, or several of these.

    Adding and removing are O(1); :meth:`matching` costs what it returns, and with a source and a device what the
    smaller of the two has.
    """

    # A session is in `_sessions`, in `_by_source` and its service's `by_source` under its source, and in `_by_device`
    # if it has a device. Only this class changes these three of a registered session, so it finds its own keys again.
    __slots__ = ("_by_device", "_by_source", "_services", "_sessions")

    def __init__(self, services: Services) -> None:
        """Have no session.

        Args:
            services: count the sessions of each service.
        """
        self._services = services
        self._sessions: dict[int, Session] = {}
        self._by_source: dict[str, set[Session]] = {}
        self._by_device: dict[tuple[int, str], set[Session]] = {}

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
        self._enter_device(session)
        self._sessions[session.id] = session
        session.index = self
        self._services.entered(session.service)

    def remove(self, session: Session) -> None:
        """Forget a session that was added."""
        session.index = None
        del self._sessions[session.id]
        self._leave(session)
        self._leave_device(session)
        self._services.left(session.service)

    def move(self, session: Session, service: Service) -> None:
        """Register a live session under another service; assigning ``session.service`` comes here."""
        before = session.service
        self._leave(session)
        self._leave_device(session)
        session.enter(service)
        self._enter(session)
        self._enter_device(session)
        self._services.left(before)
        self._services.entered(service)

    def move_source(self, session: Session, source: str, packed: bytes, port: int) -> None:
        """Register a live session under another source; :meth:`Session.set_source` comes here."""
        self._leave(session)
        session.come_from(source, packed, port)
        self._enter(session)

    def identify(self, session: Session, device: str | None) -> None:
        """Register a live session under another device; assigning ``session.device`` comes here."""
        self._leave_device(session)  # and no other index: an iteration over a service's sessions still finds it
        session.use(device)
        self._enter_device(session)

    def _enter(self, session: Session) -> None:
        source = session.source
        for index in (session.service.by_source, self._by_source):
            sessions = index.get(source)
            if sessions is None:
                index[source] = {session}
            else:
                sessions.add(session)

    def _leave(self, session: Session) -> None:
        source = session.source
        for index in (session.service.by_source, self._by_source):
            sessions = index[source]
            sessions.remove(session)
            if not sessions:
                del index[source]

    def _enter_device(self, session: Session) -> None:
        if session.device is not None:
            self._by_device.setdefault((session.service.incarnation, session.device), set()).add(session)

    def _leave_device(self, session: Session) -> None:
        if session.device is not None:
            key = session.service.incarnation, session.device
            sessions = self._by_device[key]
            sessions.remove(session)
            if not sessions:
                del self._by_device[key]

    def each(self, service: Service) -> Iterator[Session]:
        """Give the live sessions of a service one after the other; those that come meanwhile may be left out."""
        for sessions in tuple(service.by_source.values()):
            for session in tuple(sessions):
                if session.index is self and session.service is service:
                    yield session

    def matching(
        self,
        *,
        service: str | None = None,
        source: str | None = None,
        device: str | None = None,
        session: int | None = None,
    ) -> list[Session]:
        """Give the sessions that match everything named, oldest first.

        Args:
            service: sessions of the services of this name, a removed one's last sessions among them.
            source: sessions of this address, in the form sessions carry it.
            device: sessions of this device; devices are a service's own, so name the service too.
            session: the session with this id.

        Raises:
            TypeError: a device without a service.
        """
        if device is not None and service is None:
            raise TypeError("a device is looked up within a service: name the service too")
        if session is not None:
            one = self._sessions.get(session)
            found = [] if one is None or service not in (None, one.service.name) else [one]
        elif service is not None:
            found = []
            for each in self._services.named(service):
                if device is not None:
                    found += self._by_device.get((each.incarnation, device), ())
                elif source is not None:
                    found += each.by_source.get(source, ())
                else:
                    for sessions in each.by_source.values():
                        found += sessions
        else:
            found = list(self._by_source.get(source, ())) if source is not None else []
        return sorted(
            (each for each in found if source in (None, each.source) and device in (None, each.device)), key=_age
        )


class SessionsView:
    """The live sessions, to read: iterate, count, look one up by id, or find those that match."""

    __slots__ = ("_registry",)

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __len__(self) -> int:
        return len(self._registry)

    def __iter__(self) -> Iterator[Session]:
        """Give the live sessions, oldest first, as they are at this moment."""
        return iter(self._registry)

    def __contains__(self, session: Session) -> bool:
        return session in self._registry

    def __getitem__(self, session_id: int) -> Session:
        return self._registry[session_id]

    def get(self, session_id: int) -> Session | None:
        """Give the live session of this id, or None."""
        return self._registry.get(session_id)

    def of(self, service: Service) -> Iterator[Session]:
        """Give the live sessions of a service one after the other; those that come meanwhile may be left out."""
        return self._registry.each(service)

    def matching(
        self,
        *,
        service: str | None = None,
        source: str | None = None,
        device: str | None = None,
        session: int | None = None,
    ) -> list[Session]:
        """Give the live sessions that match everything named, oldest first; costs what it returns.

        Args:
            service: sessions of the services of this name, a removed one's last sessions among them.
            source: sessions of this address, in the form sessions carry it.
            device: sessions of this device; devices are a service's own, so name the service too.
            session: the session with this id.

        Raises:
            TypeError: a device without a service.
        """
        return self._registry.matching(service=service, source=source, device=device, session=session)


def _age(session: Session) -> int:
    return session.id
