"""This process as one of several that serve one edge."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, Protocol

import attrs

from ..addresses.address import Address
from ..services.control_plane import ControlPlane
from ..services.sharing.worker_share import WorkerShare
from .handing_over.handing_over import SourceWorkers
from .listening.bind import Bound

HAND_OVER_SECONDS: Final = 1.0
"""How often a worker hands the totals of busy services to the control process, at least."""


class ParentSockets(Protocol):
    """The listening sockets that the parent of the workers keeps for one edge, as one worker sees them.

    Attributes:
        own: of the addresses of the edge's own: those that this worker accepts on.
    """

    own: Sequence[Bound]

    async def listening(self) -> None:
        """Say that this worker is ready to accept clients, and wait until the parent listens on the addresses."""

    def has(self, address: Address) -> bool:
        """Tell whether this worker accepts on a listener that a policy names; one worker does."""

    def take(self, address: Address) -> Bound | None:
        """Give the socket of such a listener that the parent has kept; None if it has none."""

    def keep(self, address: Address, fd: int) -> None:
        """Have the parent keep a copy of such a socket, so that a successor of this worker finds it."""

    def forget(self, address: Address) -> None:
        """Have the parent close its copy of such a socket."""


@attrs.frozen(kw_only=True)
class Part:
    """This process as one of several workers that serve one edge; a process alone has none.

    Attributes:
        number: of the worker, from 0.
        count: the number of workers.
        column: of this process in shared tables; no other live process has it.
        columns: the number of columns.
        limits: the limits of this edge over all workers; see :class:`~trioedge.structures.shared.limits.EdgeLimits`.
        control: stands for the edge's control plane, which runs in the control process.
        sockets: the listening sockets that the parent keeps.
        sources: the workers that sessions are handed to once their source is known; None where that is never so.
        steered: whether each address has one worker, for all its connections.
    """

    number: int
    count: int
    column: int
    columns: int
    limits: Any = None
    control: ControlPlane | None = None
    sockets: ParentSockets | None = None
    sources: SourceWorkers | None = None
    steered: bool = True

    def share(self, provided: Collection[str]) -> WorkerShare | None:
        """Give the limits that stages share with the other workers; None where there are none.

        Args:
            provided: the session facts that the chain provides. A client is steered by the address that connects, so
                where a stage names another source, a source or a peer may come to several workers.
        """
        if self.limits is None:
            return None
        steered = self.steered and "source" not in provided
        return WorkerShare(self.count, self.limits, frozenset({"source", "peer"} if steered else ()))

    def ids(self) -> Iterator[int]:
        """Give ids of sessions that no other live process gives."""
        return itertools.count(self.columns + self.column, self.columns)
