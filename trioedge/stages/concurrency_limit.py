"""How many sessions may be live at once."""

from typing import Final, Literal

from ..core.bounds import check_choice, check_count
from ..core.live_counts import ENTERED, TOO_MANY, LiveCounts
from ..core.services import Services
from ..core.session import Session
from ..core.verdict import CONTINUE, Reason, Reject, Verdict
from ..runtime.ground import Ground

CAPACITY: Final = 65_536

UNLIMITED: Final = 1 << 62
"""What holds where nothing says a number: sessions are counted, for a policy that will."""

_TOO_MANY: Final = Reject(Reason.CONCURRENCY, "as many sessions as its service's policy has are live")


class ConcurrencyLimit:
    """Admit at most so many live sessions of each source or service; the next is refused with ``concurrency``.

    A session counts from this stage until it ends, however it ends. Per service, the policy's `max_sessions` goes
    before the argument; where neither says a number there is no limit. O(1), about half a microsecond.
    """

    __slots__ = ("_by_source", "_counts", "_full", "_limit", "_services", "_text", "_too_many", "enforces", "needs")

    def __init__(
        self, sessions: int | None = None, per: Literal["source", "service"] = "source", *, capacity: int = CAPACITY
    ) -> None:
        """Set the limit.

        Args:
            sessions: live at once, at least 1. None, with ``per="service"``, leaves it to the policies.
            per: what is counted by itself: each ``source`` address, or each ``service``.
            capacity: keys with a live session, 65,536 by default; beyond, a new key is refused with reason
                ``capacity``.

        Raises:
            ConfigurationError: names the argument and what is wrong with it.
        """
        check_choice("ConcurrencyLimit", "per", per, ("source", "service"))
        if sessions is not None or per == "source":
            check_count("ConcurrencyLimit", "sessions", sessions)
        check_count("ConcurrencyLimit", "capacity", capacity)
        self._counts = LiveCounts(capacity)
        self._limit = sessions
        self._services: Services | None = None
        self._by_source = per == "source"
        self.needs = () if self._by_source else ("service",)
        self.enforces = () if self._by_source else ("max_sessions",)
        self._too_many = Reject(Reason.CONCURRENCY, f"{sessions} sessions of this {per} are live")
        self._full = Reject(Reason.CAPACITY, f"{capacity} keys of the concurrency limit have live sessions")
        count = "" if sessions is None else f"sessions={sessions}, "
        self._text = f"ConcurrencyLimit({count}per={per!r})"

    def __repr__(self) -> str:
        return self._text

    def bind(self, ground: Ground) -> None:
        """Belong to the edge that begins to serve."""
        self._services = ground.services if ground.services.governed and not self._by_source else None

    def decide(self, session: Session) -> Verdict:
        """Count the session in, or refuse."""
        limit, too_many = self._limit, self._too_many
        if self._services is not None:
            service = self._services.find(session.service)
            if service is None:
                return self._services.refusal(session.service)
            if service.policy.max_sessions is not None:
                limit, too_many = service.policy.max_sessions, _TOO_MANY
        if limit is None:
            if self._services is None:
                return CONTINUE
            limit = UNLIMITED
        key = session.source if self._by_source else session.service
        entry = self._counts.enter(key, limit)
        if entry is ENTERED:
            # A source stays what it is; a service may be named anew while the session lives.
            session.defer(self._leave if self._by_source else lambda _: self._counts.leave(key))
            return CONTINUE
        if limit is UNLIMITED:  # there is no room to count it, and no reason to refuse it
            return CONTINUE
        return too_many if entry is TOO_MANY else self._full

    def _leave(self, session: Session) -> None:
        self._counts.leave(session.source)
