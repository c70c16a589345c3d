"""How often sessions may be opened: a time gate that never waits and shares nothing with byte rates."""

from collections.abc import Hashable
from typing import Final, Literal

from ..arguments import check_choice, check_count, check_number
from ..services.context import EdgeContext
from ..services.services import Change, Service, Services
from ..session.session import Session
from ..session.verdict import CONTINUE, Reason, Reject, Verdict
from ..structures.gcra import ADMITTED, TOO_FAST, Gate, RateSpec

CAPACITY: Final = 65_536

_TOO_FAST: Final = Reject(Reason.RATE, "more sessions a second than its service's policy has")


class SessionGate:
    """Admit at most `rate` sessions a second of each service or source, and a short burst beyond that.

    In any stretch of time a key opens at most ``rate * seconds + burst`` sessions; the others are refused with
    reason ``rate`` at once, before they have a task. A service's policy goes before the arguments; where neither says
    a rate there is no limit. Seed, layer one. O(1), about half a microsecond.
    """

    __slots__ = (
        "_by_source", "_cadence", "_capacity", "_full", "_gate", "_services", "_text", "_too_fast", "enforces",
        "requires",
    )  # fmt: skip

    def __init__(
        self,
        rate: float | None = None,
        burst: int = 32,
        per: Literal["service", "source"] = "service",
        *,
        capacity: int = CAPACITY,
    ) -> None:
        """Set the gate.

        Args:
            rate: sessions a second, above 0. None leaves it to the policies of services.
            burst: sessions at once after a rest, at least 1.
            per: what has a gate of its own: each ``service``, or each ``source`` address.
            capacity: keys remembered, 65,536 by default; when so many are active, a new one is refused with reason
                ``capacity``.

        Raises:
            ConfigurationError: names the argument and what is wrong with it.
        """
        check_choice("SessionGate", "per", per, ("service", "source"))
        if rate is not None or per == "source":
            check_number("SessionGate", "rate", rate, above=0)
        check_count("SessionGate", "burst", burst)
        check_count("SessionGate", "capacity", capacity)
        self._capacity = capacity
        self._gate = Gate(capacity)  # for who asks it without an edge
        self._cadence = None if rate is None else RateSpec(rate, burst)
        self._services: Services | None = None
        self._by_source = per == "source"
        self.requires = () if self._by_source else ("service",)
        self.enforces = () if self._by_source else ("session_rate", "session_burst")
        self._too_fast = (
            _TOO_FAST if rate is None else Reject(Reason.RATE, f"more than {rate:g} sessions a second per {per}")
        )
        self._full = Reject(Reason.CAPACITY, f"{capacity} keys of the session gate are active")
        self._text = f"SessionGate(rate={rate:g}, burst={burst}, per={per!r})" if rate else "SessionGate()"

    def __repr__(self) -> str:
        return self._text

    def bind(self, context: EdgeContext) -> None:
        """Belong to the edge that begins to serve; nobody has spent anything."""
        self._gate = Gate(self._capacity)
        self._services = None
        if context.services.governed and not self._by_source:
            self._services = context.services
            context.services.watch(self)

    def changed(self, service: Service, change: Change) -> None:
        """Forget what a service has spent that is no more: one that comes back by its name may be another's."""
        if change.after is None:
            self._gate.forget(service.name)

    def decide(self, session: Session) -> Verdict:
        """Spend one session, or refuse."""
        cadence, too_fast = self._cadence, self._too_fast
        if self._services is not None:
            service = self._services.find(session.service)
            if service is None:
                return self._services.refusal(session.service)
            if service.cadence is not None:
                cadence, too_fast = service.cadence, _TOO_FAST
        if cadence is None:
            return CONTINUE
        key: Hashable = session.source if self._by_source else session.service
        admission = self._gate.admit(key, session.started_at, cadence)
        if admission is ADMITTED:
            return CONTINUE
        return too_fast if admission is TOO_FAST else self._full
