"""The source prefixes every peer matches against: the same list on every run and in every process."""

from __future__ import annotations

import random

PREFIXES = 1_000
"""How many of them a proxy with limits matches every client against."""

SEED = 20_240_229
LOOPBACK = "127.0.0.0/8"
"""Holds the client of every measure, so the list accepts it."""


def prefixes(count: int) -> list[str]:
    """`count` distinct IPv4 prefixes, none on loopback, and `LOOPBACK` behind them.

    /20 to /28: even 100,000 of them cover a fortieth of the addresses, so a matcher that merges gains little.
    """
    rng = random.Random(SEED)
    found: dict[str, None] = {}
    while len(found) < count:
        length = rng.randint(20, 28)
        network = rng.getrandbits(length) << (32 - length)
        first = network >> 24
        if 1 <= first < 224 and first != 127:
            found[f"{first}.{network >> 16 & 255}.{network >> 8 & 255}.{network & 255}/{length}"] = None
    return [*found, LOOPBACK]
