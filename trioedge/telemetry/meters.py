"""The meters of one run of an edge, beside the counts of its sessions: its questions to others, and its tables.

Its parts count here as they work, an addition each; nothing is computed before the meters are read. A table that is
watched here must not know the log of the edge: that would be a cycle, which keeps descriptors until it is collected.
"""

from collections.abc import Callable, Sized
from typing import Final
from weakref import WeakSet

import attrs

from .connects import ConnectMeter
from .histogram import Histogram
from .upstream_counts import ListsUpstreams

SESSIONS: Final = "sessions"
"""The table of live sessions, whose capacity is the edge's `max_sessions`."""


@attrs.define(eq=False)
class Questions:
    """Questions to another program, in the background.

    Attributes:
        asked: so far, repeated ones included.
        failed: those without an answer, or with none that can be used.
        seconds: how long the answers of the others took.
    """

    asked: int = 0
    failed: int = 0
    seconds: Histogram = attrs.field(factory=Histogram)


@attrs.frozen
class Table:
    """A table of this process with a bound.

    Attributes:
        name: of it.
        size: gives its entries now. O(1).
        capacity: the bound.
    """

    name: str
    size: Callable[[], int]
    capacity: int


class Meters:
    """What the parts of an edge count.

    Attributes:
        names: questions to name servers.
        devices: questions to the device checker.
        connects: connects to all upstreams.
        graces: sessions that were admitted in the grace of their device.
        idle_taken: sessions that took an idle connection.
        idle_missed: sessions that wanted one, and there was none.
        pools: the pools of idle connections; ``len()`` of one is how many it has.
        looks: how often the rate of a service was looked at.
        divisions: how often one was divided among its sessions anew.
        paced: the services that wait for a look at their rate, and those that are in one.
        tables: those with a bound.
        upstreams: give the upstreams that are configured.
    """

    __slots__ = ("connects", "devices", "divisions", "graces", "idle_missed", "idle_taken", "looks", "names", "paced",
                 "pools", "tables", "upstreams")  # fmt: skip

    def __init__(self) -> None:
        self.names, self.devices = Questions(), Questions()
        self.connects = ConnectMeter()
        self.graces = self.idle_taken = self.idle_missed = self.looks = self.divisions = 0
        self.pools: WeakSet[Sized] = WeakSet()
        self.paced: tuple[Sized, ...] = ()
        self.tables: list[Table] = []
        self.upstreams: list[ListsUpstreams] = []

    def add_table(self, kind: str, size: Callable[[], int], capacity: int) -> None:
        """Watch how full a table is. The first of a kind has the kind as its name, the second ``kind 2``, and so on.

        Args:
            kind: such as ``gate``.
            size: gives its entries now; costs the same however many there are.
            capacity: its bound.
        """
        number = 1 + sum(each.name.partition(" ")[0] == kind for each in self.tables)
        self.tables.append(Table(kind if number == 1 else f"{kind} {number}", size, capacity))
