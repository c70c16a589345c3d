"""What the admin API changes in an edge as a whole: its snapshot, and its end."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import attrs
import trio

from ..control.supervisor import ControlState
from ..services.control_plane import ControlPlane
from ..services.snapshot import Plan, Snapshot
from ..services.stage_keys import StageKeys
from .local import Local
from .refusals import RefusedError


class Controlled(Protocol):
    """An edge as its control plane's process has it."""

    @property
    def stage_keys(self) -> StageKeys:
        """The tables of a service that its stages read."""

    async def plan(self, snapshot: Snapshot, /) -> Plan:
        """Say what a snapshot would do; nothing changes.

        Raises:
            SnapshotError: it has faults.
            RefusedError: the edge has no control plane.
        """

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        """Apply a snapshot beside those of the control plane; the rest as :meth:`plan`."""

    def state(self) -> ControlState:
        """Give the state of the connection to the control plane."""

    def drain(self, seconds: float | None, /) -> None:
        """Stop accepting; sessions may go on for so long, or for as long as the edge says."""

    def restart(self) -> None:
        """Begin a restart of the program in place.

        Raises:
            RefusedError: it has one process only.
        """

    def restarts(self) -> "RestartState":
        """Say how far a restart has come; it raises as :meth:`restart` does."""


@attrs.frozen
class RestartState:
    """How far a restart in place has come.

    Attributes:
        generation: how many restarts came before this version.
        under_way: whether one has begun, and is neither done nor refused.
        refused: why the last one was refused; empty if it was not.
    """

    generation: int
    under_way: bool = False
    refused: str = ""


@attrs.frozen(eq=False)
class LocalControl:
    """The edge in this process, which serves it alone.

    Attributes:
        local: the edge.
        stage_keys: see :class:`Controlled`.
        end: drains the edge.
    """

    local: Local
    stage_keys: StageKeys
    end: Callable[[float | None], object]

    async def plan(self, snapshot: Snapshot, /) -> Plan:
        """See :meth:`Controlled.plan`."""
        self._check_governed()
        return await self.local.run.supervisor.applier.plan(snapshot)

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        """See :meth:`Controlled.apply`."""
        self._check_governed()
        return await self.local.run.supervisor.applier.apply(snapshot)

    def state(self) -> ControlState:
        """See :meth:`Controlled.state`."""
        return self.local.run.control_state()

    def drain(self, seconds: float | None, /) -> None:
        """See :meth:`Controlled.drain`."""
        self.end(seconds)

    def restart(self) -> None:
        """See :meth:`Controlled.restart`."""
        raise RefusedError(409, "one process serves this edge: a restart in place needs --workers 2, or more")

    def restarts(self) -> RestartState:
        """See :meth:`Controlled.restarts`."""
        raise RefusedError(409, "one process serves this edge: a restart in place needs --workers 2, or more")

    def _check_governed(self) -> None:
        check_governed(self.local.description.control, self.state())


def check_governed(control: ControlPlane | None, state: ControlState) -> None:
    """Refuse a snapshot for an edge that has no control plane, or not yet a snapshot of it.

    Raises:
        RefusedError: 409, or 503.
    """
    if control is None:
        raise RefusedError(409, "an edge without control=… has no services that a snapshot could change")
    if state.applied_at is None:
        raise RefusedError(503, "the edge waits for the first snapshot of its control plane: ask again later")


def state_of(found: ControlState) -> dict[str, Any]:
    """Give the state of the connection to the control plane; its times are seconds since 1970."""
    state = attrs.asdict(found)
    for name in ("applied_at", "failing_since"):
        if state[name] is not None:
            state[name] = round(time.time() - trio.current_time() + state[name], 3)
    state["report_lag"] = round(state["report_lag"], 3)
    return state
