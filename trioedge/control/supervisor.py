"""The governed side of an edge: its services, its sessions, and the line to its control plane."""

import random
import secrets
from collections.abc import Collection
from typing import Final

import attrs
import trio
from trio_util import AsyncValue

from ..services.apply import SnapshotApplier
from ..services.control_plane import ControlPlane, TakesReports
from ..services.registry import Registry
from ..services.services import Services
from ..services.stage_keys import StageKeys
from ..session.meter import Total
from ..structures.backoff import Backoff
from ..telemetry.observer import Observer
from .reporter import Reporter
from .reports import Reports

FIRST_RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 30.0
"""Before a control plane that crashed is run again."""

FLUSH_SECONDS: Final = 2.0
"""How long the last reports may take when the edge stops."""


@attrs.frozen
class ControlState:
    """How an edge stands with its control plane.

    Attributes:
        version: of the snapshot that holds; empty before the first.
        applied_at: when it was applied, in seconds of trio's clock; None before the first.
        services: how many there are.
        error: why there is no news of it, or what was wrong with the last; empty when all is well.
        failing_since: since when; None when all is well.
        report_error: why the last report was not acknowledged; empty when it was.
        unreported: services whose totals wait to be reported.
        reported: the number of the last report that was acknowledged.
    """

    version: str
    applied_at: float | None
    services: int
    error: str
    failing_since: float | None
    report_error: str
    unreported: int
    reported: int


class _FirstWord:
    """Tells the edge that the control plane has spoken, once, however often that is run."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status
        self.said = False

    def started(self, value: None = None) -> None:  # noqa: ARG002 - the shape of a task status
        if not self.said:
            self.said = True
            self._task_status.started()


class ControlSupervisor:
    """What one run of an edge knows of services and sessions.

    Attributes:
        services: every service.
        live: every session.
        applier: applies snapshots.
    """

    def __init__(
        self,
        control: ControlPlane | None,
        observer: Observer,
        totals: tuple[Total, Total],
        *,
        name: str,
        enforced: Collection[str],
        report_seconds: float,
        snapshots: AsyncValue[int],
        stage_keys: StageKeys,
    ) -> None:
        """Know no service and no session.

        Args:
            control: says which services there are; without one, every name is one.
            observer: told of what people should know.
            totals: the edge's bytes up and down.
            name: the edge's name in reports.
            enforced: the policy fields that some stage reads.
            report_seconds: between two rounds of reports.
            snapshots: counts those that were applied.
            stage_keys: the keys that stages read in a policy.
        """
        self._control = control
        self._observer = observer
        self.services = Services(*totals, governed=control is not None)
        self.live = Registry(self.services)
        self.applier = SnapshotApplier(
            self.services, self.live, observer, enforced={*enforced, "enabled"}, stage_keys=stage_keys
        )
        self.applier.on_applied.append(lambda: setattr(snapshots, "value", snapshots.value + 1))
        self._reports = Reports(name, secrets.token_hex(8))
        self._reporter: Reporter | None = None
        if isinstance(control, TakesReports):
            self._reporter = Reporter(control, self._reports, observer, report_seconds)
            self.services.on_traffic.append(self._reporter.mark)
            self.services.on_gone.append(self._reporter.gone)

    async def start(self, workers: trio.Nursery, give_up: trio.Event) -> None:
        """Wait for the control plane's first word, or until `give_up`; it goes on in `workers`."""
        if self._reporter is not None:
            await workers.start(self._reporter.run)
        if self._control is not None:
            async with trio.open_nursery() as waiting:

                async def wait_to_give_up() -> None:
                    await give_up.wait()
                    waiting.cancel_scope.cancel()

                waiting.start_soon(wait_to_give_up)
                await workers.start(self._keep, self._control)
                waiting.cancel_scope.cancel()
        self.applier.serving()

    async def _keep(self, control: ControlPlane, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the control plane; one that fails after its first word is run again, and what it said still holds."""
        first_word = _FirstWord(task_status)
        backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random)
        while True:
            began = trio.current_time()
            try:
                await control.run(self.applier, task_status=first_word)
            except Exception as fault:
                if not first_word.said:
                    raise
                self._observer.fault("control plane crashed", fault)
            if not first_word.said:
                return
            if trio.current_time() - began > MAX_RETRY_SECONDS:
                backoff.succeeded()
            self.applier.failed(f"{control!r} has stopped, and is started again")
            await trio.sleep(backoff.failed())

    async def finish(self) -> None:
        """Report what is due, once no session is left; within two seconds."""
        if self._reporter is not None:
            await self._reporter.flush(FLUSH_SECONDS)

    def state(self) -> ControlState:
        """Say how the edge stands with its control plane."""
        applier = self.applier
        return ControlState(
            version=applier.version,
            applied_at=applier.applied_at,
            services=len(self.services),
            error=applier.error,
            failing_since=applier.failing_since,
            report_error="" if self._reporter is None else self._reporter.error,
            unreported=len(self._reports),
            reported=self._reports.acknowledged,
        )
