"""Books of the traffic of users: totals come in from the edge, differences go out to the panel.

The edge reports totals, so a report that is repeated changes nothing. The panel adds up what it is sent, without a
number by which it would know a push that comes twice. So a difference leaves the books when it is taken, and comes back
only if it has certainly not reached the panel:

| bytes are | event | then |
| --- | --- | --- |
| reported | - | due |
| due | a push takes them | pushed |
| pushed | the panel acknowledges, or it may have counted them | gone |
| pushed | the panel has certainly not counted them | due |
"""

from collections import deque
from collections.abc import Container, Iterable, Mapping
from itertools import islice
from typing import Final, TypeAlias

import trioedge as te

MAX_RETIRED: Final = 10_000
"""Services that are no more, whose last totals are kept, because a late report may follow."""

Difference: TypeAlias = tuple[int, int]
"""Bytes up and bytes down."""

_NONE: Final = (0, 0)


class Books:
    """The traffic of one node.

    Attributes:
        due: bytes up and down by user, which no push has taken.
        live: users and incarnations with live sessions, as of the last report on each.
    """

    # `_totals` has the last totals by user and incarnation, of the run `_epoch` alone, because totals start at 0 in
    # each. `_retired` has those of removed users, the oldest first.
    def __init__(self) -> None:
        """Start empty."""
        self.due: dict[str, Difference] = {}
        self.live: set[tuple[str, int]] = set()
        self._epoch = ""
        self._totals: dict[str, dict[int, Difference]] = {}
        self._retired: deque[tuple[str, int]] = deque()

    def add(self, report: te.Report, known: Container[str]) -> None:
        """Take the totals of a report; what is more than before is due.

        Args:
            report: of the edge.
            known: the users that the node has now.
        """
        if report.epoch != self._epoch:
            self._epoch = report.epoch
            self._totals.clear()
            self.live.clear()
            self._retired.clear()
        for usage in report.services:
            uid, incarnation = usage.service, usage.incarnation
            totals = self._totals.setdefault(uid, {})
            before = totals.get(incarnation, _NONE)
            after = max(before[0], usage.bytes_up), max(before[1], usage.bytes_down)
            if after != before:
                self._owe(uid, (after[0] - before[0], after[1] - before[1]))
            if incarnation not in totals and uid not in known:
                self._retired.append((uid, incarnation))
            totals[incarnation] = after
            (self.live.add if usage.live else self.live.discard)((uid, incarnation))
        self._drop_retired()

    def forget(self, removed: Iterable[str]) -> None:
        """Note that users were removed; their last reports may still come."""
        self._retired.extend((uid, incarnation) for uid in removed for incarnation in self._totals.get(uid, ()))
        self._drop_retired()

    def take(self, most: int) -> dict[str, Difference]:
        """Take the bytes of at most so many users from the books."""
        taken = dict(islice(self.due.items(), most))
        for uid in taken:
            del self.due[uid]
        return taken

    def give_back(self, taken: Mapping[str, Difference]) -> None:
        """Put bytes back that the panel has certainly not counted."""
        for uid, difference in taken.items():
            self._owe(uid, difference)

    def _owe(self, uid: str, difference: Difference) -> None:
        up, down = self.due.get(uid, _NONE)
        self.due[uid] = up + difference[0], down + difference[1]

    def _drop_retired(self) -> None:
        while len(self._retired) > MAX_RETIRED:
            uid, incarnation = self._retired.popleft()
            self.live.discard((uid, incarnation))
            totals = self._totals.get(uid, {})
            totals.pop(incarnation, None)
            if not totals:
                self._totals.pop(uid, None)
