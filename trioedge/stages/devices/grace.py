"""What devices that nobody knows yet may do meanwhile: so long, so many sessions, and bytes from a pool that refills.

Without a pool, sources that rotate would move bytes for ever, a few each, and nobody would ever have said yes.
"""

from typing import Final

import attrs

from ...arguments import check_count, check_number

REFILL_SECONDS: Final = 60.0
"""In which what was spent comes back to an empty pool."""


@attrs.frozen(slots=True)
class Grace:
    """What an unknown device may do before its check is answered.

    Attributes:
        seconds: how long, from its first session on; above 0.
        sessions: its live sessions at most; at least 1.
        bytes: what all of them may move, both ways together. With 0 they wait for the answer, connected.
        devices: unknown devices of one service at a time; at least 1. A service's pool holds ``devices * bytes``.
    """

    seconds: float = 5.0
    sessions: int = 16
    bytes: int = 262_144
    devices: int = 64

    def __attrs_post_init__(self) -> None:
        """Raise a ConfigurationError that names the argument."""
        check_number("Grace", "seconds", self.seconds, above=0)
        check_count("Grace", "sessions", self.sessions)
        check_count("Grace", "bytes", self.bytes, minimum=0)
        check_count("Grace", "devices", self.devices)


class GracePool:
    """The grace of one service: a place and some bytes for each unknown device, given back when it is known.

    In any stretch of time the devices of a service spend at most ``pool * (1 + seconds / 60)`` bytes, because bytes
    that are reserved cannot be reserved again, and only those that were spent come back by time. What is still to
    come back is one float, as in the gate: when the pool would be full.
    """

    __slots__ = ("_capacity", "_most", "_rate", "_reserved", "devices", "full_at")

    def __init__(self, grace: Grace) -> None:
        self._most = grace.bytes
        self._capacity = grace.devices * grace.bytes
        self._rate = self._capacity / REFILL_SECONDS
        self._reserved = 0
        self.devices = 0
        """Unknown devices that have a place now."""
        self.full_at = 0.0
        """When everything that was spent is back; 0 if nothing ever was."""

    def open(self, now: float) -> int:
        """Take a place, and give the bytes that are reserved with it: fewer than asked, or 0, if the pool is low."""
        missing = max(0.0, self.full_at - now) * self._rate
        granted = min(self._most, max(0, int(self._capacity - self._reserved - missing)))
        self._reserved += granted
        self.devices += 1
        return granted

    def close(self, granted: int, left: int, now: float) -> None:
        """Give a place back, and what is `left` of the bytes `granted` with it; the rest is spent."""
        self._reserved -= granted
        self.devices -= 1
        spent = granted - left
        if spent:
            self.full_at = max(self.full_at, now) + spent / self._rate
