"""A rate limiter for one direction of one session, where the kernel cannot pace it.

It is two floats, the virtual scheduling form of the generic cell rate algorithm (ITU-T I.371) with a burst of one read:
the time when the bytes read so far have passed at the rate, and the rate. Unused time gives no credit.
"""

from math import inf
from typing import Final

MAX_WAIT_SECONDS: Final = 1.0
"""The longest wait; the part of a debt that is beyond it is forgiven."""

CHUNK_SECONDS: Final = 0.1
MIN_CHUNK: Final = 1460  # a full segment of Ethernet: smaller reads make more packets, and no smoother rate
MAX_CHUNK: Final = 65536


class Timeline:
    """A line that carries one chunk of bytes after another, each for ``count / rate`` seconds.

    A reader that reads :func:`read_size` bytes at a time and waits as :meth:`charge` says gets, in any interval, at
    most ``rate * seconds`` bytes and the chunk that it read before its first wait.
    """

    __slots__ = ("_free_at", "_rate")

    def __init__(self) -> None:
        self._free_at = 0.0
        self._rate = inf

    def charge(self, count: int, rate: float, now: float) -> float:
        """Charge bytes that were read, and return the wait before the next read.

        Args:
            count: bytes.
            rate: bytes a second, above 0; infinity for no limit. A debt from before stays as it is.
            now: seconds, never decreasing.

        Returns:
            0 to :data:`MAX_WAIT_SECONDS`.
        """
        free_at = self._free_at
        wait = (free_at - now if free_at > now else 0.0) + count / rate
        if wait > MAX_WAIT_SECONDS:
            wait = MAX_WAIT_SECONDS
        self._free_at = now + wait
        if rate < inf:
            self._rate = rate
        return wait

    def retune(self, rate: float, now: float) -> float:
        """Convert the debt to another rate, and return the wait that is left.

        Args:
            rate: bytes a second, above 0; infinity for no limit.
            now: seconds, never decreasing.

        Returns:
            0 to :data:`MAX_WAIT_SECONDS`, from now on.
        """
        left = max(self._free_at - now, 0.0)
        wait = min(left * (self._rate / rate), MAX_WAIT_SECONDS) if left else 0.0
        self._free_at, self._rate = now + wait, rate
        return wait


def read_size(rate: float) -> int:
    """Give the bytes of one read: those of a tenth of a second, but 1,460 to 65,536.

    At rates below 1,460 it is those of a second, because no wait is longer, and at least 1.

    Args:
        rate: bytes a second, above 0; infinity for no limit.
    """
    size = rate * CHUNK_SECONDS
    if size >= MAX_CHUNK:
        return MAX_CHUNK
    if size < MIN_CHUNK:
        size = min(MIN_CHUNK, rate * MAX_WAIT_SECONDS)
    return int(size) or 1
