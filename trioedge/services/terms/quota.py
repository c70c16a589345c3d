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

With several workers the same is true of the sum over all of them: :mod:`.shared_quota`.
"""

from collections.abc import Callable
from math import inf
from typing import Protocol

import attrs

from ...session.meter import Meter


class Correction(Protocol):
    """The numbers that correct a count.

    Attributes:
        ahead: the count without the bytes that were moved.
        said: the last `quota_used` of the policy.
        sent: bytes that were moved when the last report with the service was made.
        acknowledged: those of the last such report that was acknowledged.
        safe: those of the one before it.
    """

    ahead: int
    said: int
    sent: int
    acknowledged: int
    safe: int


@attrs.define(slots=True)
class OwnCorrection:
    """The :class:`Correction` of a process alone."""

    ahead: int
    said: int
    sent: int
    acknowledged: int
    safe: int


class QuotaCount:
    """The bytes of one service that count for its quota."""

    # `_ends_at` is the total of the two meters at which the quota is used up, infinity for no quota.
    __slots__ = ("_correction", "_down", "_ends_at", "_on_spent", "_reported", "_up")

    def __init__(
        self, up: Meter, down: Meter, said: int, on_spent: Callable[[], object], *, reported: bool,
        correction: Correction | None = None,
    ) -> None:  # fmt: skip
        """Count from `said` on.

        Args:
            up: the service's bytes to its upstream.
            down: its bytes to its clients.
            said: the `quota_used` of its policy.
            on_spent: called after every chunk of bytes from the one on that uses the quota up; it must not raise.
            reported: whether the control plane takes reports.
            correction: the numbers of a count that goes on; by default it begins.
        """
        self._up, self._down = up, down
        self._on_spent = on_spent
        self._reported = reported
        self._ends_at = inf
        moved = up.bytes + down.bytes
        self._correction = OwnCorrection(said - moved, said, moved, moved, moved) if correction is None else correction

    @property
    def moved(self) -> int:
        """Bytes of the service since it was added, both directions together."""
        return self._up.bytes + self._down.bytes

    @property
    def used(self) -> int:
        """The count."""
        return self.moved + self._correction.ahead

    @property
    def said(self) -> int:
        """The last `quota_used` of the policy."""
        return self._correction.said

    def under(self, said: int) -> int:
        """Give the count under another `quota_used`; nothing changes."""
        return self._corrected(said, self.moved)

    def learn(self, said: int) -> None:
        """Apply the `quota_used` of a policy."""
        moved = self.moved
        self._correction.ahead, self._correction.said = self._corrected(said, moved) - moved, said

    def limit(self, quota_bytes: int | None) -> None:
        """Apply a quota, after :meth:`learn`; None for none."""
        self._ends_at = inf if quota_bytes is None else quota_bytes - self._correction.ahead
        self._check_with(None if quota_bytes is None else self._check)

    def note_sent(self) -> None:
        """Note that a report has all bytes so far; it may be lost."""
        self._correction.sent = self.moved

    def note_acknowledged(self) -> None:
        """Note that the report that was sent last was acknowledged."""
        correction = self._correction
        correction.safe, correction.acknowledged = correction.acknowledged, correction.sent

    def leave(self) -> None:
        """Count no more, because the service is removed."""
        self.limit(None)

    def _corrected(self, said: int, moved: int) -> int:
        correction = self._correction
        used = moved + correction.ahead
        if said == correction.said:
            return used
        if not self._reported:
            return said
        least = said + moved - correction.sent
        return least if said < correction.said else min(max(used, least), said + moved - correction.safe)

    def _check_with(self, check: Callable[[], object] | None) -> None:
        self._up.check_with(check)
        self._down.check_with(check)

    def _check(self) -> None:
        if self._up.bytes + self._down.bytes >= self._ends_at:
            self._on_spent()
