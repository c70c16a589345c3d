"""The admin API of an edge that several workers serve, in the control process."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import trio

from ...admin.asking import Answers, Parameters, WorkerAnswer, WorkerFacts
from ...admin.controlling import RestartState, check_governed
from ...admin.topics.past import PastStatistics
from ...control.supervisor import ControlState
from ...edge import Edge
from ...services.snapshot import Plan, Snapshot
from ...services.stage_keys import StageKeys
from ...telemetry.level import set_log_level
from ...workers.hub import Hub
from ..workers.orders import Orders
from ..workers.slots import CONTROL, ProcessState, Row, Slots


@attrs.frozen(eq=False)
class HubAsker:
    """Asks every worker; see :class:`~trioedge.admin.asking.EdgeAsker`.

    Attributes:
        hub: the workers.
        edge: its name.
        slots: of their processes.
        began: when it was made, by Trio's clock.
    """

    hub: Hub
    edge: str
    slots: Slots
    _past: PastStatistics = attrs.field(factory=PastStatistics, init=False)
    began: float = attrs.field(factory=trio.current_time, init=False)

    async def ask(self, operation: str, parameters: Parameters, /) -> Answers:
        """See :meth:`EdgeAsker.ask`."""
        if operation == "set-log-level":
            set_log_level(parameters["level"])  # this process logs, too
        found = await self.hub.ask(self.edge, operation, dict(parameters))
        given = [WorkerAnswer(facts_of(self.slots.row(each["column"])), each["value"]) for each in found]
        columns = {each["column"] for each in found}
        rows = [row for row in self.slots.rows() if row.number != CONTROL and row.column not in columns]
        # One that starts has no session yet; one of an old version that does not answer is connected elsewhere.
        rows = [row for row in rows if row.state is not ProcessState.STARTING or row.number in found.missing]
        missing = [facts_of(row) for row in sorted(rows, key=lambda row: (row.number, row.generation))]
        past = self._past.beside(given) if operation == "statistics" else {}
        seconds = round(trio.current_time() - self.began, 3)
        return Answers(given, missing, past, seconds, partial(self.hub.past, self.edge, columns))


def facts_of(row: Row) -> WorkerFacts:
    """Give a process as the admin API shows it."""
    silent = max(0.0, time.monotonic() - row.beat) * 1000
    return WorkerFacts(
        number=row.number, pid=row.pid, generation=row.generation, state=row.state.name.lower(),
        stall_ms=round(silent, 1),
    )  # fmt: skip


class Restarts:
    """Restarts in place: the parent refuses them, and they are done once the workers of this version are ready."""

    def __init__(self, orders: Orders, generation: int, slots: Slots, workers: int) -> None:
        """Begin with the restart that this version came by, if one did.

        Args:
            orders: to the parent.
            generation: of this process.
            slots: of the processes.
            workers: their number.
        """
        self._orders, self._slots, self._workers = orders, slots, workers
        self._state = RestartState(generation, under_way=generation > 0)
        self._arrives = generation > 0

    @property
    def state(self) -> RestartState:
        """How far the last one has come."""
        if self._arrives and self._ready() == self._workers:
            self._arrives = False
            self._state = attrs.evolve(self._state, under_way=False)
        return self._state

    def _ready(self) -> int:
        generation = self._state.generation
        return sum(
            row.generation == generation and row.number != CONTROL and row.state is ProcessState.READY
            for row in self._slots.rows()
        )

    def begin(self) -> None:
        """Have the parent begin one."""
        self._arrives = False
        self._state = attrs.evolve(self._state, under_way=True, refused="")
        self._orders.send({"say": "restart"})

    def refused(self, why: str) -> None:
        """Note that the old version goes on."""
        self._state = attrs.evolve(self._state, under_way=False, refused=why)


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
        return self.hub.state(self.name)

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
        check_governed(self.edge.control, self.hub.state(self.name))


def answered_here(column: int, value: Any) -> dict[str, Any]:
    """Say whose answer it is, for :class:`HubAsker`."""
    return {"column": column, "value": value}
