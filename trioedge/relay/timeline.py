"""The rate of one direction of one session, where the kernel cannot pace it: when the line is free again.

Seed, layer two: a fallback that is two floats, saves up no credit and never makes anyone wait for long.
"""

from math import inf
from typing import Final

MAX_WAIT_SECONDS: Final = 1.0
"""No wait is longer; what a session owes beyond that is forgotten."""

CHUNK_SECONDS: Final = 0.1
MIN_CHUNK: Final = 1460  # a full segment of Ethernet: less makes packets, not smoothness
MAX_CHUNK: Final = 65536


class Timeline:
    """Bytes on a line that carries one after another: each chunk occupies it for ``count / rate`` seconds.

    Time in which nothing was sent is gone: in any stretch of it at most ``rate * seconds`` bytes pass, and the chunk
    that was read before the first wait. This holds for whoever reads :func:`read_size` bytes and waits as told.
    """

    __slots__ = ("_free_at", "_rate")

    def __init__(self) -> None:
        self._free_at = 0.0
        self._rate = inf

    def charge(self, count: int, rate: float, now: float) -> float:
        """Account for `count` bytes that were read, and say how long to wait before the next read.

        Args:
            count: bytes.
            rate: bytes a second from here on, above 0; infinity for no limit. What is owed already stays.
            now: seconds; never goes back.

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
        """Let what is owed be paid at another rate.

        Args:
            rate: bytes a second, above 0; infinity for no limit.
            now: seconds; never goes back.

        Returns:
            How long to wait from now on, as :meth:`charge` has it.
        """
        left = max(self._free_at - now, 0.0)
        wait = min(left * (self._rate / rate), MAX_WAIT_SECONDS) if left else 0.0
        self._free_at, self._rate = now + wait, rate
        return wait


def read_size(rate: float) -> int:
    """Say how much to read at once: a tenth of a second's bytes, but 1,460 to 65,536.

    At rates below 1,460 it is a second's bytes, since no wait is longer; but never less than 1.

    Args:
        rate: bytes a second, above 0; infinity for no limit.
    """
    size = rate * CHUNK_SECONDS
    if size >= MAX_CHUNK:
        return MAX_CHUNK
    if size < MIN_CHUNK:
        size = min(MIN_CHUNK, rate * MAX_WAIT_SECONDS)
    return int(size) or 1
