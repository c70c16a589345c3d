"""Run an edge's control plane: wait for its first snapshot, restart it after a fault, send its reports."""

import random
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import attrs
import trio
from trio_util import AsyncValue

from ..errors import quote
from ..services.apply import SnapshotApplier
from ..services.applying.outbounds import NO_OUTBOUNDS, OutboundFacts
from ..services.control_plane import ControlPlane, Reloads, TakesReports
from ..services.linking.edge_link import EdgeLink
from ..services.registry import Registry
from ..services.service import Service
from ..services.services import Services
from ..services.stage_keys import StageKeys
from ..services.terms.keeper import TermsKeeper
from ..services.terms.shared_quota import SharedQuotas
from ..services.terms.terms import Terms
from ..session.meter import Total
from ..structures.backoff import Backoff
from ..telemetry.log import STOPS, EdgeLog, parted
from .reporter import Reporter
from .reports import Reports

FIRST_RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 30.0
"""Before a control plane that crashed is run again; a run that lasts longer resets the pauses."""

FLUSH_SECONDS: Final = 2.0
"""For the last reports, when the edge stops."""


@attrs.frozen
class WorkerState:
    """A worker, as the control process knows it.

    Attributes:
        number: from 0.
        pid: of its process.
        generation: how many restarts came before it.
        connected: whether it is connected to the control process.
        version: of the snapshot that it has applied; None before the first, and for a worker that follows no services.
        refusal: why it does not follow the services; empty if it does.
        lags: whether it has yet to apply changes.
    """

    number: int
    pid: int
    generation: int
    connected: bool
    version: str | None
    refusal: str
    lags: bool


@attrs.frozen
class ControlState:
    """The state of an edge's connection to its control plane.

    Attributes:
        version: of the snapshot applied last; empty before the first.
        applied_at: the time of that snapshot, in seconds of Trio's clock; None before the first.
        services: the number of services.
        error: why the control plane cannot be reached, or why its last snapshot was refused; empty if neither is so.
        failing_since: when `error` began, in seconds of Trio's clock; None if it is empty.
        report_error: why the last report was not acknowledged; empty if it was.
        unreported: the number of services whose totals wait to be reported.
        reported: the sequence of the last report that was acknowledged.
        report_lag: the age of the oldest use that is not acknowledged, in seconds, and up to the length of a round too
            high; 0 if there is none.
        listeners: how many listeners that policies name are open.
        listen_errors: why the others are not, a line each: the first 100, and then how many more there are.
        workers: those that the control process knows; none in a process alone.
    """

    version: str
    applied_at: float | None
    services: int
    error: str
    failing_since: float | None
    report_error: str
    unreported: int
    reported: int
    listeners: int = 0
    listen_errors: tuple[str, ...] = ()
    workers: tuple[WorkerState, ...] = ()
    report_lag: float = 0.0


class _FirstSnapshot:
    """The task status of every run of one control plane; passes the first `started` on, and ignores the rest."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status
        self.applied = False

    def started(self, value: None = None) -> None:  # noqa: ARG002 - the shape of a task status
        if not self.applied:
            self.applied = True
            self._task_status.started()


class ControlSupervisor:
    """The services and sessions of one run of an edge, and the control plane that changes them.

    Attributes:
        services: every service.
        live: every live session.
        applier: applies snapshots.
        keeper: the worker that keeps quotas and expiries; nothing to do without a control plane.
        link: given to the control plane.
    """

    def __init__(
        self,
        control: ControlPlane | None,
        log: EdgeLog,
        totals: tuple[Total, Total],
        *,
        name: str,
        enforced: Collection[str],
        report_seconds: float,
        snapshots: AsyncValue[int],
        stage_keys: StageKeys,
        outbounds: Mapping[str, OutboundFacts] = NO_OUTBOUNDS,
        wall_clock: Callable[[], float] = time.time,
        governed: bool | None = None,
        first: int = 1,
        reports: Callable[[str, str], Reports] = Reports,
        quotas: SharedQuotas | None = None,
    ) -> None:
        """Start without services and sessions.

        Args:
            control: the control plane; without one, every name is a service.
            log: logs events.
            totals: the edge's bytes up and down.
            name: the edge's name in reports.
            enforced: the policy fields that a stage of the chain reads.
            report_seconds: between two rounds of reports.
            snapshots: counts those that were applied.
            stage_keys: the keys that stages read in a policy.
            outbounds: that policies may name.
            wall_clock: gives the seconds since 1970, by which services expire.
            governed: whether a control plane names the services; by default if there is one.
            first: the first incarnation of a service.
            reports: makes the queue of reports of an edge's name and an epoch.
            quotas: the counts of all workers; None for a process alone.
        """
        self._control = control
        self._log = log
        terms = Terms(wall_clock, reported=isinstance(control, TakesReports), shared=quotas)
        named = control is not None if governed is None else governed
        self.services = Services(*totals, governed=named, log=log, terms=terms, first=first)
        self.live = Registry(self.services)
        self.keeper = TermsKeeper(terms, self.live, log)
        self.applier = SnapshotApplier(
            self.services,
            self.live,
            log,
            enforced={*enforced, "enabled"},
            stage_keys=stage_keys,
            outbounds=outbounds,
        )
        self.link = EdgeLink(self.applier, self.services, self.live)
        self.link.report_soon = self.report_soon
        self.applier.on_applied.append(lambda: setattr(snapshots, "value", snapshots.value + 1))
        self._reports = reports(name, secrets.token_hex(8))
        self._reporter: Reporter | None = None
        if isinstance(control, TakesReports):
            self._reporter = Reporter(control, self._reports, log, report_seconds)
            self.services.on_traffic.append(self._reporter.mark)
            self.services.on_gone.append(self._reporter.gone)

    async def start(self, workers: trio.Nursery, give_up: trio.Event) -> None:
        """Run the control plane in `workers`; return after its first snapshot, or when `give_up` is set."""
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

    async def _keep(self, control: ControlPlane, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the control plane until it ends before its first snapshot; after that, run it again whenever it ends.

        The services stay as they are between two runs. A fault before the first snapshot is raised.
        """
        first_snapshot = _FirstSnapshot(task_status)
        backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random)
        while True:
            began = trio.current_time()
            try:
                await control.run(self.link, task_status=first_snapshot)
            except BaseException as raised:
                stop, fault = parted(raised)
                if fault is None or not first_snapshot.applied:
                    raise
                self._log.fault("control plane crashed", fault)
                if stop is not None:
                    raise stop from None
            if not first_snapshot.applied:
                return
            if trio.current_time() - began > MAX_RETRY_SECONDS:
                backoff.succeeded()
            self.applier.failed(f"{quote(control)} has stopped, and is started again")
            await trio.sleep(backoff.failed())

    def reload(self) -> None:
        """Ask the control plane to read its source again, if it can; its exceptions are logged."""
        if isinstance(self._control, Reloads):
            try:
                self._control.reload()
            except STOPS:
                raise
            except BaseException as fault:
                self._log.fault("reload failed", fault)

    async def finish(self) -> None:
        """Send the reports that are due, within 2 s; call it when no session is left."""
        if self._reporter is not None:
            await self._reporter.flush(FLUSH_SECONDS)

    def report_soon(self, service: Service) -> None:
        """Have the next report say what is new about a service, if the control plane takes reports."""
        if self._reporter is not None:
            self._reporter.mark(service)

    def gone(self, service: Service) -> None:
        """Note that a service that is no more has other totals, which are still reported if there is room."""
        if self._reporter is not None:
            self._reporter.gone(service)

    def state(self, listeners: int = 0, listen_errors: Iterable[str] = ()) -> ControlState:
        """Give the state of the connection to the control plane, and that of the listeners that policies name."""
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
            listeners=listeners,
            listen_errors=tuple(listen_errors),
            report_lag=0.0 if self._reporter is None else self._reporter.lag(trio.current_time()),
        )
