"""The count of one service's bytes against its quota.

The edge counts by itself, from the policy's `quota_used` on. A later `quota_used` corrects the count. It is made of
reports, and no message says of which, so it may come before or after the acknowledgement of a report that it contains.
But it contains no byte that was in no report yet, and it contains every report that was acknowledged well before it:

| the new `quota_used` | the count |
| --- | --- |
| is the same as the last one | goes on |
| is lower: a new period | `quota_used`, and the bytes that no report has had |
| is higher | goes on; but at least `quota_used` and the bytes that no report has had, and at most `quota_used` and \
the bytes that no acknowledged report has had but the last one |
| any other one, if the control plane takes no reports | `quota_used` |

The last acknowledged report is left out because its acknowledgement may have overtaken a snapshot that is older. So
with one edge the count stays exact, and with several it is behind by what the others have not reported yet.
"""

from collections.abc import Callable
from math import inf

from ...session.meter import Meter


class QuotaCount:
    """The bytes of one service that count for its quota.

    Attributes:
        said: the last `quota_used` of its policy.
    """

    # Totals of the two meters: `_sent` when the last report with the service was made, `_acknowledged` those of the
    # last such report that was acknowledged, `_safe` those of the one before it. `_ends_at` is the total at which the
    # quota is used up, infinity for no quota. The count is the total and `_ahead`.
    __slots__ = ("_acknowledged", "_ahead", "_down", "_ends_at", "_on_spent", "_reported", "_safe", "_sent", "_up",
                 "said")  # fmt: skip

    def __init__(self, up: Meter, down: Meter, said: int, on_spent: Callable[[], object], *, reported: bool) -> None:
        """Count from `said` on.

        Args:
            up: the service's bytes to its upstream.
            down: its bytes to its clients.
            said: the `quota_used` of its policy.
            on_spent: called after every chunk of bytes from the one on that uses the quota up; it must not raise.
            reported: whether the control plane takes reports.
        """
        self._up, self._down = up, down
        self._on_spent = on_spent
        self._reported = reported
        self._sent = self._acknowledged = self._safe = self.moved
        self._ahead = said - self.moved
        self._ends_at = inf
        self.said = said

    @property
    def moved(self) -> int:
        """Bytes of the service since it was added, both directions together."""
        return self._up.bytes + self._down.bytes

    @property
    def used(self) -> int:
        """The count."""
        return self.moved + self._ahead

    def under(self, said: int) -> int:
        """Give the count under another `quota_used`; nothing changes."""
        used = self.used
        if said == self.said:
            return used
        if not self._reported:
            return said
        least = said + self.moved - self._sent
        return least if said < self.said else min(max(used, least), said + self.moved - self._safe)

    def learn(self, said: int) -> None:
        """Apply the `quota_used` of a policy."""
        self._ahead, self.said = self.under(said) - self.moved, said

    def limit(self, quota_bytes: int | None) -> None:
        """Apply a quota, after :meth:`learn`; None for none."""
        self._ends_at = inf if quota_bytes is None else quota_bytes - self._ahead
        check = None if quota_bytes is None else self._check
        self._up.check_with(check)
        self._down.check_with(check)

    def note_sent(self) -> None:
        """Note that a report has all bytes so far; it may be lost."""
        self._sent = self.moved

    def note_acknowledged(self) -> None:
        """Note that the report that was sent last was acknowledged."""
        self._safe, self._acknowledged = self._acknowledged, self._sent

    def _check(self) -> None:
        if self._up.bytes + self._down.bytes >= self._ends_at:
            self._on_spent()
