"""The policies of balancing: which of several members the next session goes to.

* Least sessions: the fewest live sessions for a unit of weight; equals take turns.
* Round robin: smooth weighted round robin, as nginx has done it since 1.3.1 (commit 52327e0). Each turn adds every
  member's weight to its credit; the largest credit is chosen, and pays the weights of all. So weights 5, 1, 1 give
  a a b a c a a, and never five of a kind in a row.
* Source hash: weighted rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
  1998; weights by Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005). Each member draws a number
  for the client, by multiplying their hashes, and the best one is chosen. A member that leaves moves only its own
  clients, and one that comes takes its share from all others. Nothing is remembered, and all workers, edges and
  restarts agree.

Each costs some 0.1 µs for a member, the hash 0.4 µs.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from math import log
from typing import Final, Protocol, TypeVar

_MASK: Final = 2**64 - 1
_DRAWS: Final = 2.0**52


class Candidate:
    """A member, as a policy sees it.

    Attributes:
        weight: its share of the sessions now, in relation to the others; above 0.
        sessions: its live sessions.
        credit: of round robin.
        seed: of its name, odd; for the hash of sources.
    """

    __slots__ = ("credit", "seed", "sessions", "weight")

    def __init__(self, name: str, weight: float) -> None:
        self.weight = weight
        self.sessions = 0
        self.credit = 0.0
        self.seed = _hash(name.encode()) | 1


C = TypeVar("C", bound=Candidate)


class Choice(Protocol):
    """A policy of balancing."""

    def __call__(self, candidates: Sequence[C], key: bytes, /) -> C:
        """Choose one of at least one candidate for the key of a client's source."""


class LeastSessions:
    """Chooses the member with the fewest sessions for its weight; of equal ones each in turn."""

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn = 0

    def __call__(self, candidates: Sequence[C], key: bytes) -> C:  # noqa: ARG002 - the shape of a policy
        """Choose one of the candidates."""
        count = len(candidates)
        self._turn = turn = (self._turn + 1) % count
        best = candidates[turn]
        least = (best.sessions + 1) / best.weight
        for number in range(turn + 1 - count, turn):  # negative indices are those behind the turn
            each = candidates[number]
            load = (each.sessions + 1) / each.weight
            if load < least:
                best, least = each, load
        return best


def round_robin(candidates: Sequence[C], key: bytes) -> C:  # noqa: ARG001 - the shape of a policy
    """Choose the candidate whose turn it is."""
    best, total = candidates[0], 0.0
    for each in candidates:
        total += each.weight
        each.credit += each.weight
        if each.credit > best.credit:
            best = each
    best.credit -= total
    return best


def source_hash(candidates: Sequence[C], key: bytes) -> C:
    """Choose the candidate that draws the best number for this source."""
    source = _hash(key)
    best, highest = candidates[0], 0.0
    for each in candidates:
        drawn = ((source * each.seed & _MASK) >> 12) + 0.5  # as many bits as a float has, so it is below 2 ** 52
        score = each.weight / -log(drawn / _DRAWS)
        if score > highest:
            best, highest = each, score
    return best


POLICIES: Final[Mapping[str, Callable[[], Choice]]] = {
    "least_sessions": LeastSessions,
    "round_robin": lambda: round_robin,
    "source_hash": lambda: source_hash,
}
"""The policies by the names that users write; each makes a choice with a state of its own."""


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
