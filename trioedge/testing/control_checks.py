"""The check of a control plane: whether it keeps the promises that the edge relies on."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import trio

from ..arguments import binds, is_async
from ..errors import ConfigurationError, quote
from ..services.apply import SnapshotApplier
from ..services.control_plane import (
    ChecksDevices,
    ControlPlane,
    DeviceVerdict,
    FollowsDevices,
    NamesUsers,
    Reloads,
    SnapshotError,
    TakesReports,
)
from ..services.policy import FATES
from ..services.registry import Registry
from ..services.report import Report, Usage
from ..services.services import Services
from ..services.snapshot import Plan, Snapshot
from ..services.stage_keys import NO_KEYS, StageKeys
from ..serving.description import check_control as refuse_others
from ..session.kinds import name_of
from ..session.meter import Total
from ..telemetry.log import EdgeLog
from .cancels import MAX_STEPS, cancel_before, without_cancels
from .fake_link import PATIENCE, FakeLink
from .leaks import Baseline, leaving_nothing

END_SECONDS: Final = 1.0
"""How long a cancelled control plane may take to end."""

_METHODS: Final = {"run": 1, "check_device": 2, "report": 1, "reload": 0, "came": 2, "went": 2, "service_of": 1}
"""The methods that a control plane may have, and how many arguments each takes."""

_WAITING: Final = ("run", "check_device", "report")
"""Those that are async; the others must not wait."""


async def check_control(control: ControlPlane, *, stage_keys: StageKeys = NO_KEYS, device: str = "192.0.2.1") -> None:
    """Check a control plane in a trio test, with a link that has no edge behind it.

    Its source must answer while the check runs. It applies a good snapshot and only then calls ``started()``, its
    snapshots have no faults, its methods have the shapes that the edge expects, its `run` passes on a cancel, whenever
    it comes, ends within a second of it, tells the link nothing afterwards, and leaves no task and nothing open. It is
    run many times, one after the other. A control plane in memory is checked under a fake clock (`autojump_clock`); one
    with sockets or files needs the real clock.

    Args:
        control: the control plane, as in ``Edge(control=…)``.
        stage_keys: the keys of users' stages that its services may have.
        device: a device that it is asked about, and that comes and goes.

    Raises:
        AssertionError: names the promise that it broke.
        ConfigurationError: it is no control plane.
    """
    if not isinstance(control, ControlPlane):
        refuse_others(control)
        raise ConfigurationError("control=None is no control plane: it needs async run(link)")
    check = _ControlCheck(control, stage_keys, device)
    check.has_the_right_shapes()
    async with leaving_nothing(check.name):
        await check.serves()
        baseline = Baseline()
        for step in range(1, MAX_STEPS):
            if not await check.is_cancelled_before(step):
                break
            await baseline.assert_nothing_left(check.name)


class _SilentLog(EdgeLog):
    """A log that writes nothing."""

    def say(self, event: str, **facts: object) -> None:
        """Write nothing."""

    def notice(self, event: str, **facts: object) -> None:
        """Write nothing."""


class _CheckedLink(FakeLink):
    """A link that examines snapshots as an edge does, and notes what it is told after the run.

    Attributes:
        over: whether the run has ended.
        broken: the promises that were broken.
    """

    def __init__(self, stage_keys: StageKeys) -> None:
        super().__init__(stage_keys)
        services = Services(Total(), Total(), governed=True)
        self._applier = SnapshotApplier(
            services, Registry(services), _SilentLog(), enforced=FATES, stage_keys=stage_keys
        )
        self.over = False
        self.broken: list[str] = []

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        """Examine a snapshot, and apply it."""
        self._note("apply")
        if not isinstance(snapshot, Snapshot):
            self.broken.append(f"applied {quote(snapshot)}, which is no Snapshot")
        try:
            await self._applier.apply(snapshot)
        except SnapshotError as error:
            self.broken.append(f"applied a snapshot with faults: {error}")
            raise
        return await super().apply(snapshot)

    def reached(self) -> None:
        """Count the call."""
        self._note("reached")
        super().reached()

    def failed(self, error: str, /) -> None:
        """Keep the error."""
        self._note("failed")
        if not isinstance(error, str):
            self.broken.append(f"called link.failed({quote(error)}), which needs text")
        super().failed(error)

    def judge(self, service: str, device: str, verdict: DeviceVerdict, /) -> None:
        """Keep the verdict."""
        self._note("judge")
        super().judge(service, device, verdict)

    def _note(self, method: str) -> None:
        if self.over:
            self.broken.append(f"called link.{method}() after its run had ended")


class _ControlCheck:
    """The checks of one control plane, each with a link of its own."""

    def __init__(self, control: ControlPlane, stage_keys: StageKeys, device: str) -> None:
        self.name = name_of(control)
        self._control = control
        self._stage_keys = stage_keys
        self._device = device

    def has_the_right_shapes(self) -> None:
        """Each method takes its arguments, and is async or plain as the edge calls it."""
        methods = {name: getattr(self._control, name, None) for name in _METHODS}
        for name, count in _METHODS.items():
            method = methods[name]
            if method is None:
                continue
            waits = name in _WAITING
            assert is_async(method) == waits, (
                f"{self.name}.{name} must be {'async def' if waits else 'a plain def, because it cannot wait'}"
            )
            more: Any = {"task_status": None} if name == "run" else {}
            assert binds(method, *[None] * count, **more), f"{self.name}.{name} must take {count} arguments"
        came, went = methods["came"], methods["went"]
        assert (came is None) == (went is None), f"{self.name} needs both came and went, or none"

    async def serves(self) -> None:
        """It runs until a cancel, and its other methods are called meanwhile."""
        async with self._running() as link:
            service = next(iter(link.services), "default")
            await self._is_asked(service)
            await self._takes_reports(service)
            self._follows(service)
            if isinstance(self._control, NamesUsers):
                self._plain("service_of", self._control.service_of, "an unknown user")
            if isinstance(self._control, Reloads):
                self._plain("reload", self._control.reload)
            for _ in range(10):
                await trio.lowlevel.checkpoint()
        self._follows(service)  # the last sessions may end after its run

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[_CheckedLink]:
        """Run it for the length of a block, which begins after its first snapshot."""
        link = _CheckedLink(self._stage_keys)
        failed: BaseException | None = None
        returned = False
        cancelled_at = 0.0

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            nonlocal returned
            await self._control.run(link, task_status=task_status)
            returned = True

        try:
            async with trio.open_nursery() as nursery:
                with trio.move_on_after(PATIENCE) as limit:
                    await nursery.start(run)
                if limit.cancelled_caught:
                    errors = f"; it said: {link.errors[-1]}" if link.errors else ""
                    failed = AssertionError(f"{self.name} had no snapshot within {PATIENCE:g} s{errors}")
                else:
                    try:
                        assert link.snapshots or link.broken, f"{self.name} called started() before a snapshot"
                        yield link
                    except Exception as error:  # raised below as it is, because the nursery would put it into a group
                        failed = error
                    if failed is None and returned:
                        failed = AssertionError(f"{self.name}.run returned before it was cancelled")
                cancelled_at = trio.current_time()
                nursery.cancel_scope.cancel()
        except BaseException as fault:
            if (other := without_cancels(fault)) is None:
                raise
            self._kept(link)
            if returned:
                raise AssertionError(f"{self.name}.run returned before it had a snapshot") from fault
            raise AssertionError(f"{self.name}.run raised {_only(other)!r}") from fault
        if failed is not None:
            raise failed
        seconds = trio.current_time() - cancelled_at
        assert seconds <= END_SECONDS, f"{self.name}.run took {seconds:.1f} s to end after a cancel"
        await self._is_over(link)

    async def _is_asked(self, service: str) -> None:
        if isinstance(self._control, ChecksDevices):
            verdict = await self._awaited("check_device", self._control.check_device(service, self._device))
            assert isinstance(verdict, DeviceVerdict), f"{self.name}.check_device must return a DeviceVerdict"

    async def _takes_reports(self, service: str) -> None:
        if isinstance(self._control, TakesReports):
            usage = Usage(service, 1, bytes_up=3, bytes_down=5, opened=1, live=1, sources=1)
            for sequence in (1, 1, 2):  # the second one as if the first had not been acknowledged
                await self._awaited("report", self._control.report(Report("check", "epoch", sequence, (usage,))))

    def _follows(self, service: str) -> None:
        if isinstance(self._control, FollowsDevices):
            for method in (self._control.came, self._control.went):
                self._plain(method.__name__, method, service, self._device)

    async def _awaited(self, method: str, call: Awaitable[Any]) -> Any:
        try:
            with trio.fail_after(PATIENCE):
                return await call
        except Exception as fault:
            raise AssertionError(f"{self.name}.{method} raised {fault!r}; let its source answer in the test") from fault

    def _plain(self, name: str, method: Callable[..., object], *arguments: str) -> None:
        try:
            method(*arguments)
        except Exception as fault:
            raise AssertionError(f"{self.name}.{name} raised {fault!r}") from fault

    async def is_cancelled_before(self, step: int) -> bool:
        """Cancel its run before a step; False when it had its first snapshot and ended before that."""
        link = _CheckedLink(self._stage_keys)
        with trio.CancelScope() as scope, cancel_before(step, scope) as counter:
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self._control.run, cast(Any, link))
                    nursery.cancel_scope.cancel()
            except BaseException as fault:
                if (other := without_cancels(fault)) is not None:
                    raise AssertionError(f"{self.name}.run made {_only(other)!r} of a cancel") from fault
                raise
        await self._is_over(link)
        return counter.reached

    async def _is_over(self, link: _CheckedLink) -> None:
        link.over = True
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        self._kept(link)

    def _kept(self, link: _CheckedLink) -> None:
        """Check that it has broken no promise to the link."""
        assert not link.broken, f"{self.name} {link.broken[0]}"


def _only(fault: BaseException) -> BaseException:
    """Give the exception of a group of one."""
    while isinstance(fault, BaseExceptionGroup) and len(fault.exceptions) == 1:
        fault = fault.exceptions[0]
    return fault
