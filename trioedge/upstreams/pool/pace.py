"""When a pool connects what is missing: at once, after a pause, or a little later.

| the pool is | event | action |
| --- | --- | --- |
| at rest | connections are missing, see `soon` | fill now |
| at rest | a session takes a connection | fill in :data:`TOP_UP_SECONDS` |
| at rest, filling | a connect fails, or the upstream closes an unused connection | pause |
| pausing | the pause is over | fill |
| pausing, impatient | a session takes a connection | at rest: fill in :data:`TOP_UP_SECONDS` |
| any | the upstream closes an unused connection | the upstream is impatient |
| any | a session takes a live connection, or one lives unused to its end | patient; the next pause is short |

Pauses double. While the upstream is impatient, there is a pause before each single connect.
"""

from math import inf
from typing import Final

from ...structures.backoff import Backoff

TOP_UP_SECONDS: Final = 1.0
"""After this time connections are replaced that sessions have taken and not ended with yet."""


class Pace:
    """The time of the next connects, and whether the upstream is patient.

    Attributes:
        fill_at: when to connect what is missing; infinity while the pool is full, as far as is known.
        pausing: whether nothing is connected until then.
        impatient: whether the upstream closes unused connections.
    """

    __slots__ = ("_backoff", "_said", "fill_at", "impatient", "pausing")

    def __init__(self, backoff: Backoff) -> None:
        """Start at rest.

        Args:
            backoff: gives the pauses.
        """
        self._backoff = backoff
        self._said = False
        self.fill_at = inf
        self.pausing = False
        self.impatient = False

    def soon(self, now: float) -> None:
        """Fill now, or after the pause that is under way."""
        if not self.pausing:
            self.fill_at = now

    def begins(self, now: float) -> bool:
        """Tell whether it is time to connect what is missing, which ends a pause."""
        if now < self.fill_at:
            return False
        self.pausing, self.fill_at = False, inf
        return True

    def took(self, now: float) -> bool:
        """Note that a session took a live connection.

        Returns:
            Whether `fill_at` has changed: at most once in :data:`TOP_UP_SECONDS`, so that a worker seldom wakes.
        """
        self._backoff.succeeded()
        if self.impatient:
            self.impatient = self.pausing = False
            self.fill_at = inf
        if self.fill_at != inf:
            return False
        self.fill_at = now + TOP_UP_SECONDS
        return True

    def failed(self, now: float) -> bool:
        """Pause, unless there is a pause already; False then."""
        if self.pausing:
            return False
        self.pausing = True
        self.fill_at = now + self._backoff.failed()
        return True

    def lost(self, now: float) -> bool:
        """Pause, because the upstream closed an unused connection.

        Returns:
            Whether that is new: once until it proves patient.
        """
        self.impatient = True
        self.failed(now)
        is_new, self._said = not self._said, True
        return is_new

    def proved_patient(self) -> None:
        """Note that an unused connection has lived for its whole time."""
        self._backoff.succeeded()
        self.impatient = self._said = False
