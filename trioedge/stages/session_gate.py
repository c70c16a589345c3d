"""How often sessions may be opened: a time gate that never waits and shares nothing with byte rates."""

from collections.abc import Hashable
from typing import Final, Literal

from ..core.bounds import check_choice, check_count, check_number
from ..core.gate import ADMITTED, TOO_FAST, Gate
from ..core.session import Session
from ..core.verdict import CONTINUE, Reason, Reject, Verdict

CAPACITY: Final = 65_536


class SessionGate:
    """Admit at most `rate` sessions a second of each service or source, and a short burst beyond that.

    In any stretch of time a key opens at most ``rate * seconds + burst`` sessions; the others are refused with
    reason ``rate`` at once, before they have a task. Seed, layer one. O(1), about half a microsecond.
    """

    __slots__ = ("_by_source", "_full", "_gate", "_text", "_too_fast", "needs")

    def __init__(
        self, rate: float, burst: int = 32, per: Literal["service", "source"] = "service", *, capacity: int = CAPACITY
    ) -> None:
        """Set the gate.

        Args:
            rate: sessions a second, above 0.
            burst: sessions at once after a rest, at least 1.
            per: what has a gate of its own: each ``service``, or each ``source`` address.
            capacity: keys remembered, 65,536 by default; when so many are active, a new one is refused with reason
                ``capacity``.

        Raises:
            ConfigurationError: names the argument and what is wrong with it.
        """
        check_number("SessionGate", "rate", rate, above=0)
        check_count("SessionGate", "burst", burst)
        check_choice("SessionGate", "per", per, ("service", "source"))
        check_count("SessionGate", "capacity", capacity)
        self._gate = Gate(rate, burst, capacity)
        self._by_source = per == "source"
        self.needs = () if self._by_source else ("service",)
        self._too_fast = Reject(Reason.RATE, f"more than {rate:g} sessions a second per {per}")
        self._full = Reject(Reason.CAPACITY, f"{capacity} keys of the session gate are active")
        self._text = f"SessionGate(rate={rate:g}, burst={burst}, per={per!r})"

    def __repr__(self) -> str:
        return self._text

    def decide(self, session: Session) -> Verdict:
        """Spend one session, or refuse."""
        key: Hashable = session.source if self._by_source else session.service
        admission = self._gate.admit(key, session.started_at)
        if admission is ADMITTED:
            return CONTINUE
        return self._too_fast if admission is TOO_FAST else self._full
