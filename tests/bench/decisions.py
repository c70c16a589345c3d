"""Nanoseconds of each decision, and of the compiled chain of three: `python -m tests.bench.decisions`.

Sessions come from a thousand sources, most of which no prefix matches, because a matcher is slowest when it
finds nothing. What the loop around the call costs is measured and taken off; the call is not.

Every batch begins with cold tables, because the other decisions and the collector ran in between: so it is in a
proxy, where the kernel's work for a session comes between two decisions. Warm, a large table is thrice as fast.
"""

from __future__ import annotations

import gc
import json
import random
import socket
import statistics
import time
from collections.abc import Callable

import trioedge as te
from tests.bench.prefixes import PREFIXES, SEED, prefixes
from trioedge.services.services import Services
from trioedge.serving.sessions import EdgeHome
from trioedge.session.meter import Total
from trioedge.testing import make_context
from trioedge.testing.context import StillClock

SESSIONS = 1_000
SERVICES = Services(Total(), Total(), governed=False)
SERVICE = SERVICES.unnamed
HOME = EdgeHome(StillClock(), SERVICES)
"""All sessions are of one edge and one service, as those of an edge without a control plane are."""
BATCHES = 60
"""Batches of `SESSIONS` fresh sessions each; the median batch counts."""

Decide = Callable[[te.Session], object]


def batch(decide: Decide) -> float:
    """Nanoseconds of one call, in a batch of fresh sessions."""
    sessions = [
        te.Session(number, "tcp://127.0.0.1:1", source, socket.inet_aton(source), 50_000, 0.0, SERVICE, HOME)
        for number, source in enumerate(SOURCES)
    ]
    start = time.perf_counter_ns()
    for _session in sessions:
        pass
    middle = time.perf_counter_ns()
    for session in sessions:
        decide(session)
    end = time.perf_counter_ns()
    for session in sessions:  # so that nothing counts them as live in the next batch
        session.end(te.Completed())
    return (end - middle - (middle - start)) / SESSIONS


def sources() -> list[str]:
    """Addresses all over the IPv4 space, the same on every run."""
    rng = random.Random(SEED + 1)
    return [".".join(str(rng.randint(1, 223)) for _ in range(4)) for _ in range(SESSIONS)]


SOURCES = sources()


def match(count: int) -> te.SourceMatch:
    """A source match that refuses `count` prefixes and accepts every other: nothing stops early."""
    return te.SourceMatch(reject=prefixes(count))


def gate() -> te.SessionGate:
    """A gate that never closes."""
    return te.SessionGate(rate=1e6, burst=1_000_000, per="service")


def concurrency() -> te.ConcurrencyLimit:
    """A limit that no session reaches."""
    return te.ConcurrencyLimit(20_000, per="source")


async def nowhere(session: te.Session) -> te.Outcome:
    """End a session at once."""
    return te.Completed()


def main() -> None:
    """Print the figures as JSON."""
    context = make_context()
    stages = [gate().open(context), match(PREFIXES), concurrency().open(context)]
    decides: dict[str, Decide] = {
        "gate": gate().open(context).decide,
        "match_10": match(10).decide,
        "match_1000": match(1_000).decide,
        "match_100000": match(100_000).decide,
        "concurrency": concurrency().open(context).decide,
        "chain": te.compile_chain(stages, nowhere).decide,
    }
    found: dict[str, list[float]] = {name: [] for name in decides}
    for _ in range(BATCHES):  # in turn, so that a slow second of the machine hits all of them
        for name, decide in decides.items():
            found[name].append(batch(decide))
        gc.collect()  # what ended sessions left is not charged to the next batch
    print(json.dumps({f"decision_{name}_ns": statistics.median(each) for name, each in found.items()}))


if __name__ == "__main__":
    main()
