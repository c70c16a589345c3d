"""A rate limit of new sessions: it never waits, and is independent of byte rates."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from ..addresses.source_prefix import parse_per
from ..arguments import Fixed, check_count, check_number
from ..session.session import Session
from ..session.source_keys import key_of
from ..session.verdict import CONTINUE, Reason, Reject, Verdict
from ..structures.gcra import ADMITTED, TOO_FAST, RateSpec

if TYPE_CHECKING:
    from ..services.context import EdgeContext

CAPACITY: Final = 65_536

_POLICY_TOO_FAST: Final = Reject(Reason.RATE, "more sessions a second than its service's policy has")


class SessionGate(Fixed):
    """Admit at most `rate` new sessions a second of each service, source or peer, and a short burst beyond that.

    In any stretch of time a key opens at most ``rate * seconds + burst`` sessions; every further session is refused
    with reason ``rate`` at once, before it has a task. Per service, the policy's `session_rate` and `session_burst`
    take precedence over the arguments; where neither names a rate, there is no limit. A service that is removed and
    named again has its whole burst. The generic cell rate algorithm (ITU-T I.371, annex A). O(1), about half a
    microsecond.
    """

    kind = "decision"

    def __init__(
        self,
        rate: float | None = None,
        burst: int = 32,
        per: str = "service",
        *,
        capacity: int = CAPACITY,
    ) -> None:
        """Set the gate.

        Args:
            rate: sessions a second, above 0. None, with ``per="service"``, leaves it to the policies.
            burst: sessions at once after a pause, at least 1.
            per: the key that is limited: each ``service``; each ``source``, the client's address; or each ``peer``,
                the address that connected. Addresses of one prefix are one source, as ``Edge(source_prefix=…)`` says:
                an IPv6 /64 by default. ``source/128`` or ``peer/128`` is finer; coarser than the edge's is refused.
            capacity: keys in memory, at least 1; when so many are active, a new one is refused with reason
                ``capacity``. A wider prefix that floods is refused earlier, while others still have a place.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        key, self.source_bits = parse_per("SessionGate", "per", per, ("service", "source", "peer"))
        if rate is not None or key != "service":
            check_number("SessionGate", "rate", rate, above=0)
        check_count("SessionGate", "burst", burst)
        check_count("SessionGate", "capacity", capacity)
        self.rate, self.burst, self.per, self.capacity = rate, burst, per, capacity
        self.requires = () if key == "peer" else (key,)
        self.enforces = ("session_rate", "session_burst") if key == "service" else ()
        self.needs_control = rate is None

    def __repr__(self) -> str:
        if self.rate is None:
            return "SessionGate()"
        return f"SessionGate(rate={self.rate:g}, burst={self.burst}, per={self.per!r})"

    def open(self, context: "EdgeContext") -> "LiveSessionGate":
        """Open the gate of one run of an edge; every key has its whole burst."""
        return LiveSessionGate(self, context)


class LiveSessionGate:
    """The gate of one run of an edge."""

    __slots__ = ("_admit", "_alone", "_full", "_key_of", "_rate", "_too_fast")

    def __init__(self, recipe: SessionGate, context: "EdgeContext") -> None:
        self._admit = context.gate(recipe.capacity, recipe.per).admit
        self._alone = context.share is None
        self._key_of = key_of(recipe.per, recipe.source_bits)
        self._rate = None if recipe.rate is None else RateSpec(recipe.rate, recipe.burst)
        sessions = "session" if recipe.rate == 1 else "sessions"
        self._too_fast = Reject(Reason.RATE, f"more than {recipe.rate or 0:g} {sessions} a second per {recipe.per}")
        self._full = Reject(Reason.CAPACITY, f"{recipe.capacity} keys of the session gate are active")

    def decide(self, session: Session) -> Verdict:
        """Admit the session by the time of this call, or refuse it."""
        rate, too_fast = self._rate, self._too_fast
        if self._key_of is not None:
            key: Hashable = self._key_of(session)
        else:
            service = session.service
            key = service.incarnation if self._alone else service.name  # which means the same in every worker
            if service.session_rate is not None:
                rate, too_fast = service.session_rate, _POLICY_TOO_FAST
        if rate is None:
            return CONTINUE
        answer = self._admit(key, session.now, rate)
        if answer is ADMITTED:
            return CONTINUE
        return too_fast if answer is TOO_FAST else self._full
