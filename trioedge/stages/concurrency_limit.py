"""A limit of live sessions."""

from collections.abc import Hashable
from types import MethodType
from typing import TYPE_CHECKING, Final

from ..addresses.source_prefix import parse_per
from ..arguments import Fixed, check_count
from ..session.session import Session
from ..session.source_keys import key_of
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
        per: str = "source",
        *,
        capacity: int = CAPACITY,
    ) -> None:
        """Set the limit.

        Args:
            sessions: the maximum, at least 1. None, with ``per="service"``, leaves it to the policies.
            per: the key that is limited: each ``source``, the client's address; each ``service``; or each ``peer``,
                the address that connected. Addresses of one prefix are one source, as ``Edge(source_prefix=…)`` says:
                an IPv6 /64 by default. ``source/128`` or ``peer/128`` is finer; coarser than the edge's is refused.
            capacity: keys in memory, at least 1; when so many have a live session, a new one is refused with reason
                ``capacity``, unless it has no limit. A wider prefix that floods is refused earlier, while others still
                have a place.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        key, self.source_bits = parse_per("ConcurrencyLimit", "per", per, ("source", "service", "peer"))
        if sessions is not None or key != "service":
            check_count("ConcurrencyLimit", "sessions", sessions)
        check_count("ConcurrencyLimit", "capacity", capacity)
        self.sessions, self.per, self.capacity = sessions, per, capacity
        self.requires = () if key == "peer" else (key,)
        self.enforces = ("max_sessions",) if key == "service" else ()
        self.needs_control = sessions is None

    def __repr__(self) -> str:
        count = "" if self.sessions is None else f"sessions={self.sessions}, "
        return f"ConcurrencyLimit({count}per={self.per!r})"

    def open(self, context: "EdgeContext") -> "LiveConcurrencyLimit":
        """Open the counts of one run of an edge."""
        return LiveConcurrencyLimit(self, context)


class LiveConcurrencyLimit:
    """The counts of one run of an edge."""

    __slots__ = ("_alone", "_counts", "_enter", "_full", "_key_of", "_leave", "_limit", "_too_many")

    def __init__(self, recipe: ConcurrencyLimit, context: "EdgeContext") -> None:
        self._counts = context.counter(recipe.capacity, recipe.per)
        self._alone = context.share is None
        self._enter, self._leave = self._counts.enter, self._counts.leave  # bound once
        self._key_of = key_of(recipe.per, recipe.source_bits)
        self._limit = UNLIMITED if recipe.sessions is None else recipe.sessions
        sessions, are = ("session", "is") if recipe.sessions == 1 else ("sessions", "are")
        self._too_many = Reject(Reason.CONCURRENCY, f"{recipe.sessions} {sessions} of this {recipe.per} {are} live")
        self._full = Reject(Reason.CAPACITY, f"{recipe.capacity} keys of the concurrency limit have live sessions")

    def decide(self, session: Session) -> Verdict:
        """Count the session, or refuse it."""
        limit, too_many = self._limit, self._too_many
        if self._key_of is not None:
            key: Hashable = self._key_of(session)
        else:
            service = session.service
            key = service.incarnation if self._alone else service.name  # which means the same in every worker
            said = service.policy.max_sessions
            if said is not None:
                limit, too_many = UNLIMITED if isinstance(said, str) else said, _POLICY_TOO_MANY
        answer = self._enter(key, limit)
        if answer is ENTERED:
            # Under the key that it was counted by, whatever changes later; a partial would take three times the memory.
            session.defer(MethodType(self._leave, key))
            return CONTINUE
        if limit is UNLIMITED:  # the table is full: it is not counted, and not refused
            return CONTINUE
        return too_many if answer is TOO_MANY else self._full
