"""The health of one member, as the connects of sessions and the checks of the edge show it.

| a member is | event | action |
| --- | --- | --- |
| well | connects fail, or checks, `max_failures` in a row | ejected, for a pause |
| well | a connect, or a check, succeeds | forget the failures of its kind |
| ejected | a connect or a check fails during the pause | nothing |
| ejected | a connect succeeds, where there are no checks | returning |
| ejected | the pause is over, where there are no checks | returning |
| ejected | a check succeeds | returning |
| ejected | the pause is over, and a check fails | ejected, for a pause twice as long |
| returning | a connect or a check fails | ejected, for a pause twice as long |
| returning | `slow_seconds` and the length of its last pause have passed | well; the next pause is a first one |

A returning member gets a share of its weight that grows from a tenth to all of it, so a cold cache or a process that
is still loading does not meet every session at once. The pauses are 1 to 60 s.
"""

from collections.abc import Callable
from math import inf
from typing import Final

from ...structures.backoff import Backoff

FIRST_PAUSE_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 60.0

FIRST_SHARE: Final = 0.1
"""The part of its weight that a member has when it returns."""

STEPS: Final = 20
"""How often the share of a returning member is computed anew."""

WELL, EJECTED, RETURNING = "well", "ejected", "returning"


class Health:
    """The state of a member. Times are seconds of one clock, which does not go back."""

    __slots__ = ("_backoff", "_checked", "_checks_failed", "_connects_failed", "_max_failures", "_pause",
                 "_paused_until", "_returned_at", "_slow_seconds")  # fmt: skip

    def __init__(
        self, max_failures: int, slow_seconds: float, random: Callable[[], float], *, checked: bool = False
    ) -> None:
        """Begin well.

        Args:
            max_failures: failures in a row that eject it.
            slow_seconds: how long its share grows when it returns.
            random: gives floats in [0, 1), which spread the pauses of several edges.
            checked: whether checks decide when it returns.
        """
        self._max_failures = max_failures
        self._slow_seconds = slow_seconds
        self._checked = checked
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, random)
        self._connects_failed = self._checks_failed = 0  # in a row
        # It is ejected while `_paused_until` is not None, or, without checks, until that time. Else it has returned at
        # `_returned_at`: long ago if it was never ejected.
        self._paused_until: float | None = None
        self._pause = 0.0  # the last one
        self._returned_at = -inf

    def state(self, now: float) -> str:
        """Give ``well``, ``ejected`` or ``returning``."""
        if self._is_ejected(now):
            return EJECTED
        return RETURNING if now < self._return() + max(self._slow_seconds, self._pause) else WELL

    def share(self, now: float) -> float:
        """Give the part of its weight that it has now: 1 when well, 0 when ejected."""
        if self._is_ejected(now):
            return 0.0
        since = now - self._return()
        return 1.0 if since >= self._slow_seconds else max(FIRST_SHARE, since / self._slow_seconds)

    def changes_at(self, now: float) -> float:
        """Give the next time at which the share changes without an event; infinity if it does not."""
        if self._is_ejected(now):
            return inf if self._checked or self._paused_until is None else self._paused_until
        return now + self._slow_seconds / STEPS if self.share(now) < 1 else inf

    def check_at(self, now: float, seconds: float) -> float:
        """Give the time of the next check: in `seconds`, or when the pause of an ejected member is over."""
        return now + seconds if self._paused_until is None else max(now, self._paused_until)

    def connected(self, now: float) -> bool:
        """Note that a connect succeeded; True if that brings the member back."""
        self._connects_failed = 0
        return not self._checked and self._is_ejected(now) and self._come_back(now)

    def connect_failed(self, now: float) -> bool:
        """Note that a connect failed; True if that ejects the member."""
        self._connects_failed += 1
        return not self._is_ejected(now) and self._judge(self._connects_failed, now)

    def check_passed(self, now: float) -> bool:
        """Note that a check succeeded; True if that brings the member back."""
        self._checks_failed = 0
        return self._is_ejected(now) and self._come_back(now)

    def check_failed(self, now: float) -> bool:
        """Note that a check failed; True if that ejects the member, which was not ejected before."""
        self._checks_failed += 1
        if not self._is_ejected(now):
            return self._judge(self._checks_failed, now)
        assert self._paused_until is not None
        if now >= self._paused_until:
            self._eject(now)
        return False

    def _judge(self, failures: int, now: float) -> bool:
        returning = self.state(now) == RETURNING
        if not returning and failures < self._max_failures:
            return False
        if not returning:
            self._backoff.succeeded()
        self._eject(now)
        return True

    def _eject(self, now: float) -> None:
        self._pause = self._backoff.failed()
        self._paused_until = now + self._pause

    def _come_back(self, now: float) -> bool:
        self._paused_until, self._returned_at = None, now
        self._connects_failed = self._checks_failed = 0
        return True

    def _is_ejected(self, now: float) -> bool:
        return self._paused_until is not None and (self._checked or now < self._paused_until)

    def _return(self) -> float:
        """Give the time of its return; a pause that is over ends here."""
        if self._paused_until is not None:
            self._returned_at, self._paused_until = self._paused_until, None
            self._connects_failed = self._checks_failed = 0
        return self._returned_at
