"""A limit of live sessions."""

from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from ..arguments import Fixed, check_choice, check_count
from ..session.session import Session
from ..session.verdict import CONTINUE, Reason, Reject, Verdict
from ..structures.live_counts import ENTERED, TOO_MANY

if TYPE_CHECKING:
    from ..services.context import EdgeContext

CAPACITY: Final = 65_536

UNLIMITED: Final = 1 << 62
"""The limit where no number is set. Sessions are counted all the same, because a policy may set a limit later."""

_POLICY_TOO_MANY: Final = Reject(Reason.CONCURRENCY, "as many sessions as its service's policy has are live")


class ConcurrencyLimit(Fixed):
    """Admit at most `sessions` live sessions of each source, service or peer.

    Every further session is refused with reason ``concurrency``. A session counts from this stage until it ends,
    however it ends, and under the source and service that it has at this stage. Per service, the policy's
    `max_sessions` takes precedence over the argument; where neither names a number, there is no limit. A lower number
    cuts no session. O(1), about half a microsecond.
    """

    kind = "decision"

    def __init__(
        self,
        sessions: int | None = None,
        per: Literal["source", "service", "peer"] = "source",
        *,
        capacity: int = CAPACITY,
    ) -> None:
        """Set the limit.

        Args:
            sessions: the maximum, at least 1. None, with ``per="service"``, leaves it to the policies.
            per: the key that is limited: each ``source``, the client's address; each ``service``; or each ``peer``,
                the address that connected.
            capacity: keys in memory, at least 1; when so many have a live session, a new one is refused with reason
                ``capacity``, unless it has no limit.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        check_choice("ConcurrencyLimit", "per", per, ("source", "service", "peer"))
        if sessions is not None or per != "service":
            check_count("ConcurrencyLimit", "sessions", sessions)
        check_count("ConcurrencyLimit", "capacity", capacity)
        self.sessions, self.per, self.capacity = sessions, per, capacity
        self.requires = () if per == "peer" else (per,)
        self.enforces = ("max_sessions",) if per == "service" else ()
        self.needs_control = sessions is None

    def __repr__(self) -> str:
        count = "" if self.sessions is None else f"sessions={self.sessions}, "
        return f"ConcurrencyLimit({count}per={self.per!r})"

    def open(self, context: "EdgeContext") -> "LiveConcurrencyLimit":
        """Open the counts of one run of an edge."""
        return LiveConcurrencyLimit(self, context)


class LiveConcurrencyLimit:
    """The counts of one run of an edge."""

    __slots__ = ("_by_peer", "_by_source", "_counts", "_enter", "_full", "_leave", "_limit", "_too_many")

    def __init__(self, recipe: ConcurrencyLimit, context: "EdgeContext") -> None:
        self._counts = context.counter(recipe.capacity)
        self._enter, self._leave = self._counts.enter, self._counts.leave  # bound once
        self._by_source, self._by_peer = recipe.per == "source", recipe.per == "peer"
        self._limit = UNLIMITED if recipe.sessions is None else recipe.sessions
        self._too_many = Reject(Reason.CONCURRENCY, f"{recipe.sessions} sessions of this {recipe.per} are live")
        self._full = Reject(Reason.CAPACITY, f"{recipe.capacity} keys of the concurrency limit have live sessions")

    def decide(self, session: Session) -> Verdict:
        """Count the session, or refuse it."""
        limit, too_many = self._limit, self._too_many
        if self._by_source:
            key: Hashable = session.source
        elif self._by_peer:
            key = session.peer
        else:
            service = session.service
            key = service.incarnation
            if service.policy.max_sessions is not None:
                limit, too_many = service.policy.max_sessions, _POLICY_TOO_MANY
        answer = self._enter(key, limit)
        if answer is ENTERED:
            session.defer(partial(self._leave, key))  # under the key that it was counted by, whatever changes later
            return CONTINUE
        if limit is UNLIMITED:  # the table is full: it is not counted, and not refused
            return CONTINUE
        return too_many if answer is TOO_MANY else self._full
