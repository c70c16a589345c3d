"""The admin API of an edge that several workers serve, in the control process."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from ...admin.asking import Answers, Parameters, WorkerAnswer, WorkerFacts
from ...admin.controlling import RestartState
from ...admin.refusals import RefusedError
from ...admin.topics.past import PastStatistics
from ...control.supervisor import ControlState
from ...edge import Edge
from ...services.snapshot import Plan, Snapshot
from ...services.stage_keys import StageKeys
from ...telemetry.level import set_log_level
from ...workers.hub import Hub
from ..workers.orders import Orders
from ..workers.slots import Row, Slots


@attrs.frozen(eq=False)
class HubAsker:
    """Asks every worker; see :class:`~trioedge.admin.asking.EdgeAsker`.

    Attributes:
        hub: the workers.
        edge: its name.
        slots: of their processes.
    """

    hub: Hub
    edge: str
    slots: Slots
    _past: PastStatistics = attrs.field(factory=PastStatistics, init=False)

    async def ask(self, operation: str, parameters: Parameters, /) -> Answers:
        """See :meth:`EdgeAsker.ask`."""
        if operation == "set-log-level":
            set_log_level(parameters["level"])  # this process logs, too
        found = await self.hub.ask(self.edge, operation, dict(parameters))
        given = [WorkerAnswer(facts_of(self.slots.row(each["column"])), each["value"]) for each in found]
        rows = {row.number: row for row in sorted(self.slots.rows(), key=lambda row: row.generation)}
        missing = [facts_of(rows[number]) for number in found.missing if number in rows]
        past = self._past.beside(given) if operation == "statistics" else {}
        return Answers(given, missing, past, partial(self.hub.past, self.edge, [each["column"] for each in found]))


def facts_of(row: Row) -> WorkerFacts:
    """Give a process as the admin API shows it."""
    silent = max(0.0, time.monotonic() - row.beat) * 1000
    return WorkerFacts(
        number=row.number, pid=row.pid, generation=row.generation, state=row.state.name.lower(),
        stall_ms=round(silent, 1),
    )  # fmt: skip


class Restarts:
    """Restarts in place, as the parent tells of them.

    Attributes:
        state: how far the last one has come.
    """

    def __init__(self, orders: Orders, generation: int) -> None:
        """Know of none.

        Args:
            orders: to the parent.
            generation: of this process.
        """
        self._orders = orders
        self.state = RestartState(generation)

    def begin(self) -> None:
        """Have the parent begin one."""
        self.state = attrs.evolve(self.state, under_way=True, refused="")
        self._orders.send({"say": "restart"})

    def refused(self, why: str) -> None:
        """Note that the old version goes on."""
        self.state = attrs.evolve(self.state, under_way=False, refused=why)


@attrs.frozen(eq=False)
class HubControl:
    """An edge as a whole; see :class:`~trioedge.admin.controlling.Controlled`.

    Attributes:
        hub: its control plane, and its workers.
        name: its name.
        edge: its description.
        end: has all its workers drain, within so many seconds or as the edge says.
        parent: begins restarts, and says how far they have come.
    """

    hub: Hub
    name: str
    edge: Edge
    end: Callable[[str, float | None], object]
    parent: "Restarts"

    @property
    def stage_keys(self) -> StageKeys:
        """See :attr:`Controlled.stage_keys`."""
        return self.edge.stage_keys

    async def plan(self, snapshot: Snapshot, /) -> Plan:
        """See :meth:`Controlled.plan`."""
        self._check_governed()
        return await self.hub.plan(self.name, snapshot)

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        """See :meth:`Controlled.apply`."""
        self._check_governed()
        return await self.hub.apply(self.name, snapshot)

    def state(self) -> ControlState:
        """See :meth:`Controlled.state`."""
        return self.hub.states()[self.name]

    def drain(self, seconds: float | None, /) -> None:
        """See :meth:`Controlled.drain`."""
        self.end(self.name, None if seconds is None or math.isinf(seconds) else seconds)

    def restart(self) -> None:
        """See :meth:`Controlled.restart`."""
        self.parent.begin()

    def restarts(self) -> RestartState:
        """See :meth:`Controlled.restarts`."""
        return self.parent.state

    def _check_governed(self) -> None:
        if self.edge.control is None:
            raise RefusedError(409, "an edge without control=… has no services that a snapshot could change")


def answered_here(column: int, value: Any) -> dict[str, Any]:
    """Say whose answer it is, for :class:`HubAsker`."""
    return {"column": column, "value": value}
