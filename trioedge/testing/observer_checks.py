"""The check of an observer: whether it keeps the promises that the edge and other observers rely on."""

from collections.abc import Iterator
from typing import Any

import trio

from ..observers.check import check_observer as refuse_others
from ..observers.check import open_observer
from ..observers.observer import Batch, Observer
from ..observers.worker import CLOSE_SECONDS
from ..services.context import EdgeContext
from ..services.policy import Policy, Settings
from ..services.snapshot import Change
from ..session.kinds import close_parts, name_of
from ..session.stage import Worker
from ..session.verdict import Completed, Outcome, Reason, Reject
from ..telemetry.ends import Ends
from ..telemetry.records import CAPACITY
from ..telemetry.starts import Starts
from .cancels import MAX_STEPS, cancel_before, without_cancels
from .checks import HOUR, FaultsFail
from .context import make_context
from .leaks import Baseline, leaving_nothing
from .sessions import make_session


async def check_observer(observer: object, *, context: EdgeContext | None = None) -> None:
    """Check an observer in a trio test; a fake clock (`autojump_clock`) makes it instant.

    It takes batches of every kind and returns None, changes no batch, passes on a cancel, whenever it comes and within
    a second, takes the next batch afterwards, and leaves no task and nothing open. Its worker, if it has one, ends
    within a second of a cancel.

    Args:
        observer: as in ``observers=[…]``. The worker of a recipe runs.
        context: to open a recipe with; by default :func:`make_context` makes one.

    Raises:
        AssertionError: names the promise that it broke.
        ConfigurationError: it is no observer.
    """
    name = name_of(observer)
    refuse_others(observer, name)
    async with leaving_nothing(name):
        live = open_observer(observer, context or make_context(), name)
        assert live is not None, f"{name} is off: its open() returned None, so there is nothing to check"
        failed: Exception | None = None
        async with trio.open_nursery() as nursery:
            if isinstance(live, Worker):
                await nursery.start(live.run)
            try:
                await _Check(live, name).all()
            except Exception as error:  # raised below as it is, because the nursery would put it into a group
                failed = error
            cancelled_at = trio.current_time()
            nursery.cancel_scope.cancel()
        late = trio.current_time() - cancelled_at
        close_parts([live], FaultsFail())
        if failed is not None:
            raise failed
        assert late <= CLOSE_SECONDS, f"the worker of {name} ended {late:g} s after its cancel: an edge waits for it"


class _Check:
    """The checks of one live observer."""

    def __init__(self, live: Observer, name: str) -> None:
        self._live = live
        self._name = name

    async def all(self) -> None:
        for batch in batches():
            await self._takes(batch)
        baseline = Baseline()  # after the first batches, because it may keep something for all of them
        for step in range(1, MAX_STEPS):
            if not await self._is_cancelled_before(step):
                break
        for batch in batches():
            await self._takes(batch)
        await baseline.assert_nothing_left(self._name)

    async def _takes(self, batch: Batch) -> None:
        before = repr(batch)
        returned: object = None
        with trio.move_on_after(HOUR) as limit:
            try:
                returned = await self._observe(batch)
            except Exception as fault:
                raise AssertionError(f"{self._name} raised {fault!r} for a batch: its records would be lost") from fault
        assert not limit.cancelled_caught, f"{self._name} did not return within an hour, and gets no other batch"
        assert returned is None, f"{self._name} returned {returned!r}: observe() returns nothing"
        assert repr(batch) == before, f"{self._name} changes its batch, and other observers share its records"

    async def _is_cancelled_before(self, step: int) -> bool:
        """Cancel it before a step; False when it was done before that."""
        with trio.CancelScope() as scope, cancel_before(step, scope) as counter:
            try:
                await self._observe(everything())
            except BaseException as fault:
                if (other := without_cancels(fault)) is not None:
                    when = "of a cancel" if counter.reached else "of a batch, because the one before was cancelled"
                    raise AssertionError(f"{self._name} made {other!r} {when}") from fault
                raise
        late = trio.current_time() - counter.reached_at if counter.reached else 0.0
        assert late <= CLOSE_SECONDS, f"{self._name} returned {late:g} s after its cancel: an edge waits for it"
        return counter.reached

    async def _observe(self, batch: Batch) -> object:
        observe: Any = self._live.observe
        return await observe(batch)


def batches() -> Iterator[Batch]:
    """Give a batch of each kind of records, an empty one, and one with everything."""
    full = everything()
    yield Batch(stages=full.stages)
    yield Batch(stages=full.stages, accepted=full.accepted)
    yield Batch(stages=full.stages, ended=full.ended, lost=7)
    yield Batch(stages=full.stages, changes=full.changes)
    yield full


def everything() -> Batch:
    """Make a batch with sessions that ended for each reason, refused and not, and a service that comes and goes."""
    starts, ends = Starts(), Ends()
    accepted, ended = starts.open(lambda: None), ends.open(lambda: None)
    record = starts.recording(lambda _: None)
    for source in ("192.0.2.1", "2001:db8::1", "unix"):
        record(make_session(source))
    for reason in Reason:
        outcomes: tuple[Outcome, ...] = (
            Reject(reason, "by the check"),
            Completed(reason),
            Completed(reason, 'an "end"\n'),
        )
        for outcome in outcomes:
            session = make_session()
            session.begin_trace().append(-7 if isinstance(outcome, Reject) else 7)
            ends.add(session, outcome)
    limited, free = Settings(Policy(max_sessions=1)), Settings()
    changes = (
        Change("shop", None, limited),
        Change("shop", limited, free, ("max_sessions", "password_hash")),
        Change("shop", free, None),
    )
    return Batch(
        accepted=tuple(accepted.take(CAPACITY)), ended=tuple(ended.take(CAPACITY)), changes=changes, lost=7,
        stages=("SessionGate", "Forward"), offset=1_700_000_000.0,
    )  # fmt: skip
