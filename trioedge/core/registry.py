"""The live sessions: sharded by service, indexed by source, so that who must go is found without a scan.

Seed, layer seven: governing one source of one service touches only its own sessions.
"""

from collections.abc import Iterator

from .session import Session


class Registry:
    """Every live session, found by id, by service, by source, or by service and source.

    Adding and removing are O(1); :meth:`matching` costs what it returns.
    """

    __slots__ = ("_by_source", "_sessions", "_shards")

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}
        self._shards: dict[str, dict[str, set[Session]]] = {}
        self._by_source: dict[str, set[Session]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        """Give the live sessions, oldest first, as they are at this moment."""
        return iter(tuple(self._sessions.values()))

    def __contains__(self, session: Session) -> bool:
        return session.id in self._sessions

    def __getitem__(self, session_id: int) -> Session:
        return self._sessions[session_id]

    def add(self, session: Session) -> None:
        """Register a session under the service and source it has now."""
        self._sessions[session.id] = session
        self._enter(session)
        session.index = self

    def remove(self, session: Session) -> None:
        """Forget a session that was added."""
        session.index = None
        self._leave(session)
        del self._sessions[session.id]

    def move(self, session: Session, service: str) -> None:
        """Register a live session under another service; assigning ``session.service`` comes here."""
        session.index = None
        self._leave(session)
        session.service = service
        self._enter(session)
        session.index = self

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

    def matching(
        self, *, service: str | None = None, source: str | None = None, session: int | None = None
    ) -> list[Session]:
        """Give the sessions that match everything named, oldest first; everything named must match.

        Args:
            service: sessions of this service.
            source: sessions of this address, in the form sessions carry it.
            session: the session with this id.
        """
        if session is not None:
            found = self._sessions.get(session)
            return (
                [found]
                if found is not None and service in (None, found.service) and source in (None, found.source)
                else []
            )
        if service is not None:
            shard = self._shards.get(service, {})
            groups = shard.values() if source is None else (shard.get(source, ()),)
            return sorted((each for group in groups for each in group), key=_age)
        return sorted(self._by_source.get(source, ()) if source is not None else (), key=_age)


def _age(session: Session) -> int:
    return session.id
