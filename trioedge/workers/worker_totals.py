"""What a worker says of its services to the control process: totals since the control plane had the last ones.

While one control process runs these are the totals of the worker's life. Another control process begins another epoch,
in which totals start at 0: so a worker counts from what the control plane has acknowledged in the epochs before.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from ..services.changes import ends_step
from ..services.report import Usage
from ..services.service import Service
from .sums import Row, Settled

if TYPE_CHECKING:
    from ..services.linking.edge_link import EdgeLink
    from ..services.services import Services

MAX_KEYS: Final = 1_000
"""Sources of a service that the control process is told by name."""

MAX_SETTLED: Final = 100_000
"""Services of which the acknowledged totals are remembered; of more, those first acknowledged are forgotten."""

_NOTHING: Final = (0, 0, 0)


class SpokenTotals:
    """The totals of one edge in a worker."""

    __slots__ = ("_another", "_base", "_names_sources", "_run", "_settled")

    def __init__(self, *, names_sources: bool) -> None:
        """Say nothing yet.

        Args:
            names_sources: whether the control plane may ask for the sources of a service.
        """
        self._names_sources = names_sources
        self._run, self._another = "", True
        self._base: dict[int, tuple[int, int, int]] = {}
        self._settled: dict[int, tuple[int, int, int]] = {}

    def begin(self, run: str) -> None:
        """Count for a run of a control process from now on; its name is unlike that of any other run."""
        self._another, self._run = run != self._run, run
        if self._another:
            self._base = self._settled.copy()

    def mark(self, link: "EdgeLink") -> Generator[None, None, None]:
        """Have all reported soon that the control process may not know, in short steps."""
        another = self._another
        for number, service in enumerate(link.services.all()):
            if service.live or (another and self._unsettled(service)):
                link.report_soon(service)
            if ends_step(number):
                yield

    def settle(self, rows: Iterable[Settled]) -> None:
        """Note what the control plane has acknowledged."""
        for incarnation, *moved in rows:
            up, down, opened = (each + base for each, base in zip(moved, self._base_of(incarnation), strict=True))
            self._settled[incarnation] = up, down, opened
        while len(self._settled) > MAX_SETTLED:
            del self._settled[next(iter(self._settled))]

    def rows(self, usage: Sequence[Usage], services: "Services") -> Iterator[Row]:
        """Give what to say of these services."""
        for each in usage:
            up, down, opened = self._base_of(each.incarnation)
            found = next((one for one in services.named(each.service) if one.incarnation == each.incarnation), None)
            removed = found is None or found.removed
            keys = () if found is None or not self._names_sources else tuple(islice(found.by_source, MAX_KEYS))
            yield (
                each.service, each.incarnation, removed, each.bytes_up - up, each.bytes_down - down,
                each.opened - opened, each.live, each.sources, each.listen_errors, keys,
            )  # fmt: skip

    def _base_of(self, incarnation: int) -> tuple[int, int, int]:
        return self._base.get(incarnation, _NOTHING)

    def _unsettled(self, service: Service) -> bool:
        return (service.up.bytes, service.down.bytes, service.opened) != self._base_of(service.incarnation)
