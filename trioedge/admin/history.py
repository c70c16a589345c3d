"""The last 15 minutes of an edge: a point each 5 seconds, taken by a task of the API."""

import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

import trio

from ..telemetry.log import EdgeLog
from .asking import Answers, EdgeAsker

POINT_SECONDS: Final = 5.0
POINTS: Final = 180

COUNTED: Final = ("accepted", "bytes_up", "bytes_down")


class Totals:
    """The increase of the counts of all processes between two looks at them; pure.

    A process that was replaced begins at 0, and one that has not answered has no increase.
    """

    def __init__(self) -> None:
        """Have seen no process."""
        self._seen: dict[tuple[int, int], dict[str, int]] = {}

    def since(self, answers: Answers) -> Counter[str]:
        """Give what each count has grown by since the last call; all of it at a process that is new."""
        grown: Counter[str] = Counter()
        for each in answers.given:
            key = each.worker.number, each.worker.pid
            now, before = flat(each.value), self._seen.get(key, {})
            for name, count in now.items():
                grown[name] += max(0, count - before.get(name, 0))
            self._seen[key] = now
        known = {(each.number, each.pid) for each in (*[one.worker for one in answers.given], *answers.missing)}
        self._seen = {key: counts for key, counts in self._seen.items() if key in known}
        return grown


def flat(statistics: Mapping[str, Any]) -> dict[str, int]:
    """Give the counts of statistics in one table; ``refused.gate`` is that of one reason."""
    counts = {name: statistics[name] for name in COUNTED}
    for table in ("refused", "ended"):
        counts |= {f"{table}.{reason}": count for reason, count in statistics[table].items()}
    return counts


class History:
    """The points, the oldest first."""

    def __init__(self, asker: EdgeAsker, log: EdgeLog) -> None:
        """Have no point yet."""
        self._asker, self._log = asker, log
        self._points: deque[dict[str, Any]] = deque(maxlen=POINTS)
        self._totals = Totals()

    async def run(self) -> None:
        """Take a point each 5 s, until cancelled."""
        due, first = trio.current_time(), True
        while True:
            try:
                answers = await self._asker.ask("statistics", {})
                if first:
                    self._totals.since(answers)
                else:
                    self.add(answers, time.time())
                first = False
            except Exception as fault:
                self._log.fault("admin history failed", fault)
            due = max(due + POINT_SECONDS, trio.current_time())
            await trio.sleep_until(due)

    def add(self, answers: Answers, at: float) -> None:
        """Add a point.

        Args:
            answers: statistics of all processes.
            at: seconds since 1970.
        """
        grown = self._totals.since(answers)
        by = {name.removeprefix("refused."): count for name, count in grown.items() if name.startswith("refused.")}
        self._points.append(
            {
                "at": round(at, 3),
                "live": sum(each["live"] for each in answers.values),
                "accepted": grown["accepted"],
                "refused": sum(by.values()),
                "ended": sum(count for name, count in grown.items() if name.startswith("ended.")),
                "bytes_up": grown["bytes_up"],
                "bytes_down": grown["bytes_down"],
                "refused_by": {reason: count for reason, count in by.items() if count},
            }
        )

    def answer(self) -> dict[str, Any]:
        """Give the answer of the API."""
        return {"seconds": POINT_SECONDS, "points": [*self._points]}
