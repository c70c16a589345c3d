"""The live sessions, indexed by service, source and device, so that an eviction looks at no other session."""

from collections.abc import Iterator
from operator import attrgetter

from ..session.session import Session
from .service import Service
from .services import Services


class Registry:
    """Every live session, found by id, service, source, device, or several of these.

    Adding, removing and moving are O(1). :meth:`matching` takes time in proportion to the sessions that it gives; with
    a source and a device, to those of the device.
    """

    # A registered session is in `_sessions` under its id, in `_by_source` and in its service's `by_source` under its
    # source, and in `_by_device` under its service's incarnation and its device, if it has one. Its `index` is this
    # registry, and its service counts it as live. No set is empty. Service, source and device of a registered session
    # change only by `move`, `move_source` and `identify`, so its keys are found again.
    __slots__ = ("_by_device", "_by_source", "_services", "_sessions")

    def __init__(self, services: Services) -> None:
        """Start without sessions.

        Args:
            services: the services of the sessions; each is notified of its own.
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
        return self._sessions.get(session.id) is session  # ids are unique within one edge

    def __getitem__(self, session_id: int) -> Session:
        return self._sessions[session_id]

    def get(self, session_id: int) -> Session | None:
        """Give the live session of this id, or None."""
        return self._sessions.get(session_id)

    def add(self, session: Session) -> None:
        """Register a session under its present service, which is not removed, and its present source and device."""
        self._enter(session)
        self._enter_device(session)
        self._sessions[session.id] = session
        session.index = self
        self._services.entered(session.service)

    def remove(self, session: Session) -> None:
        """Remove a session that was added; from now on its fields change without this registry.

        Raises:
            KeyError: it is not registered.
        """
        del self._sessions[session.id]
        session.index = None
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
        self._leave_device(session)  # it stays in the other indices, so that `each` does not lose it
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
        """Give the live sessions of a service one by one, without those that end or move to another service meanwhile.

        In no order; sessions that come meanwhile may be given or not.
        """
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
        """Give the sessions that match everything named, oldest first; none if nothing is named.

        Args:
            service: sessions of every service of this name, also those of a removed one that are ending.
            source: sessions of this address, written as in ``session.source``.
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
        matches = [each for each in found if source in (None, each.source) and device in (None, each.device)]
        return sorted(matches, key=attrgetter("id"))


class SessionsView:
    """The live sessions of an edge, read-only: iterate, oldest first; count; look one up by id; find those that match.

    ``view[17]`` raises KeyError if no live session has the id 17. The view follows the edge: it shows the sessions that
    are live at each call.
    """

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
        """Give the live sessions of a service one by one, in no order; the loop may wait and may cut sessions.

        A session that ends or moves to another service during the loop is left out. One that comes during the loop may
        be given or not.

        Args:
            service: a service of this edge.
        """
        return self._registry.each(service)

    def matching(
        self,
        *,
        service: str | None = None,
        source: str | None = None,
        device: str | None = None,
        session: int | None = None,
    ) -> list[Session]:
        """Give the live sessions that match everything named, oldest first; none if nothing is named.

        Takes time in proportion to the sessions that it gives; with a source and a device, to those of the device.

        Args:
            service: sessions of every service of this name, also those of a removed one that are ending.
            source: sessions of this address, written as in ``session.source``.
            device: sessions of this device; devices are a service's own, so name the service too.
            session: the session with this id.

        Raises:
            TypeError: a device without a service.
        """
        return self._registry.matching(service=service, source=source, device=device, session=session)
