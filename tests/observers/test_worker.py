from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.observers import Keeps, Raises, Sleeps
from trioedge.observers.worker import CLOSE_SECONDS, GATHER_SECONDS, ObserverWorker
from trioedge.telemetry.log import EdgeLog
from trioedge.telemetry.records import CAPACITY
from trioedge.testing import make_session
from trioedge.testing.cancels import cancel_before


def end_one(log: EdgeLog, detail: str = "") -> None:
    log.ends.add(make_session(), te.Completed(te.Reason.FINISHED, detail))


@contextmanager
def at_work(observer: Any, nursery: trio.Nursery) -> Iterator[tuple[ObserverWorker, EdgeLog]]:
    """Start the worker of an observer, and end it behind the block."""
    log = EdgeLog()
    worker = ObserverWorker(observer, type(observer).__name__, log)
    nursery.start_soon(worker.run)
    try:
        yield worker, log
    finally:
        worker.end()


async def test_records_of_a_tenth_of_a_second_are_one_batch_and_an_idle_observer_asks_for_no_time(
    autojump_clock: MockClock,
) -> None:
    keeps = Keeps()
    async with trio.open_nursery() as nursery:
        with at_work(keeps, nursery) as (_, log):
            await trio.sleep(3600)
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            await trio.sleep(3600)
            trio.lowlevel.remove_instrument(steps)
            assert steps.count <= 2  # this task's own
            for number in range(3):
                end_one(log, str(number))
                await trio.sleep(GATHER_SECONDS / 4)
            await trio.sleep(GATHER_SECONDS)
            end_one(log, "later")
            await trio.sleep(2 * GATHER_SECONDS)
    assert [[end.outcome.detail for end in batch.ended] for batch in keeps.batches] == [["0", "1", "2"], ["later"]]


class Steps(trio.abc.Instrument):
    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_the_offset_of_a_batch_is_that_of_wall_time(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.observers.worker.time.time", lambda: 1_700_000_000.0)
    keeps = Keeps()
    async with trio.open_nursery() as nursery:
        with at_work(keeps, nursery) as (_, log):
            end_one(log)
            await trio.sleep(1)
    batch = keeps.batches[0]
    assert batch.time_of(trio.current_time() - 1 + GATHER_SECONDS).timestamp() == pytest.approx(1_700_000_000.0)


async def test_an_observer_that_sleeps_gets_the_latest_records_and_the_log_and_it_say_what_was_lost(
    autojump_clock: MockClock,
) -> None:
    sleeps = Sleeps(10)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            with at_work(sleeps, nursery) as (worker, log):
                end_one(log, "first")
                await trio.sleep(1)
                for number in range(CAPACITY + 5):
                    end_one(log, str(number))
                assert (worker.pending.lost, log.statistics(0, 0, 0).observers_lost) == (5, 5)
                await trio.sleep(2)
                assert [(entry["event"], entry["count"], entry["observer"]) for entry in logs] == [
                    ("observer lost records", 5, "Sleeps")
                ]
                for _ in range(3):
                    end_one(log)
                await trio.sleep(20)
        first, second = sleeps.batches
        assert (first.lost, [end.outcome.detail for end in first.ended]) == (0, ["first"])
        assert (second.lost, len(second.ended), second.ended[0].outcome.detail) == (8, CAPACITY, "8")
        assert [entry["count"] for entry in logs] == [5, 3]


async def test_losses_are_said_at_most_once_a_second_however_long_it_does_not_return(autojump_clock: MockClock) -> None:
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            with at_work(Sleeps(1000), nursery) as (worker, log):
                for _ in range(100):
                    for _ in range(CAPACITY):
                        end_one(log)
                    await trio.sleep(0.1)
    assert 9 <= len(logs) <= 12
    assert (worker.pending.lost, sum(entry["count"] for entry in logs)) == (100 * CAPACITY, 88 * CAPACITY)


async def test_an_observer_that_raises_loses_each_batch_and_gets_the_next(autojump_clock: MockClock) -> None:
    raises = Raises()
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            with at_work(raises, nursery) as (worker, log):
                for number in range(30):
                    end_one(log, str(number))
                    await trio.sleep(0.2)
                assert worker.pending.lost == 30
    assert [batch.ended[0].outcome.detail for batch in raises.batches] == [str(number) for number in range(30)]
    assert [batch.lost for batch in raises.batches] == [0] + [1] * 29
    failed = [entry for entry in logs if entry["event"] == "observer failed"]
    assert 5 <= len(failed) <= 7  # once a second
    assert {entry["observer"] for entry in failed} == {"Raises"}
    assert "LookupError: no collector" in failed[0]["traceback"]
    assert 5 <= len([entry for entry in logs if entry["event"] == "observer lost records"]) <= 7


async def test_what_is_no_exception_but_is_raised_is_logged_too(autojump_clock: MockClock) -> None:
    class Odd(BaseException):
        pass

    class RaisesOdd:
        async def observe(self, batch: te.Batch) -> None:
            raise Odd

    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            with at_work(RaisesOdd(), nursery) as (_, log):
                end_one(log)
                await trio.sleep(1)
    assert logs[0]["event"] == "observer failed"


async def test_an_interrupt_of_the_keyboard_in_an_observer_ends_the_process(autojump_clock: MockClock) -> None:
    class Interrupts:
        async def observe(self, batch: te.Batch) -> None:
            raise KeyboardInterrupt

    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            with at_work(Interrupts(), nursery) as (_, log):
                end_one(log)
                await trio.sleep(1)


async def test_the_last_batch_comes_at_the_end_also_in_a_cancelled_scope(autojump_clock: MockClock) -> None:
    keeps = Keeps()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            with at_work(keeps, nursery) as (worker, log):
                await trio.sleep(1)
                end_one(log, "before")
                scope.cancel()
                with pytest.raises(trio.Cancelled):
                    await trio.lowlevel.checkpoint()
                end_one(log, "after")
    assert [end.outcome.detail for end in keeps.ended] == ["before", "after"]
    assert worker.pending.lost == 0


async def test_an_observer_that_does_not_return_ends_a_second_after_the_edge_and_what_it_had_not_is_lost(
    autojump_clock: MockClock,
) -> None:
    sleeps = Sleeps(1000)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            with at_work(sleeps, nursery) as (worker, log):
                end_one(log)
                await trio.sleep(1)
                end_one(log)
                end_one(log)
                ended_at = trio.current_time()
        assert trio.current_time() - ended_at == CLOSE_SECONDS
        assert worker.pending.lost == 3
        assert [entry["count"] for entry in logs] == [3]
    assert not log.ends.read


async def test_an_observer_that_takes_half_a_second_gets_all_batches_at_the_end(autojump_clock: MockClock) -> None:
    sleeps = Sleeps(0.45)
    async with trio.open_nursery() as nursery:
        with at_work(sleeps, nursery) as (worker, log):
            end_one(log, "first")
            await trio.sleep(0.2)
            end_one(log, "last")
    assert ([end.outcome.detail for end in sleeps.ended], worker.pending.lost) == (["first", "last"], 0)


class Works(Keeps):
    """Has a worker, and notes what happens in order."""

    def __init__(self, *, starts_after: float = 0.0, fails_after: float | None = None) -> None:
        super().__init__()
        self.said: list[str] = []
        self._starts_after, self._fails_after = starts_after, fails_after

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep(self._starts_after)
            task_status.started()
            self.said.append("started")
            if self._fails_after is not None:
                await trio.sleep(self._fails_after)
                raise LookupError("its worker")
            await trio.sleep_forever()
        finally:
            self.said.append("over")

    async def observe(self, batch: te.Batch) -> None:
        await super().observe(batch)
        self.said.append("observed")


async def test_its_own_worker_starts_before_the_first_batch_and_ends_behind_the_last(autojump_clock: MockClock) -> None:
    works = Works(starts_after=5)
    async with trio.open_nursery() as nursery:
        with at_work(works, nursery) as (_, log):
            end_one(log)
            await trio.sleep(4)
            assert works.said == []
            await trio.sleep(2)
            end_one(log)
    assert works.said == ["started", "observed", "observed", "over"]


@pytest.mark.parametrize(
    ("after", "said"), [(0.0, ["started", "over", "observed"]), (3.0, ["started", "observed", "over"])]
)
async def test_a_worker_of_its_own_that_fails_is_logged_and_batches_go_on(
    after: float, said: list[str], autojump_clock: MockClock
) -> None:
    works = Works(fails_after=after)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            with at_work(works, nursery) as (_, log):
                await trio.sleep(1)
                end_one(log)
                await trio.sleep(5)
    assert works.said == said
    assert [(entry["event"], entry["observer"]) for entry in logs] == [("observer failed", "Works")]


class NeverStarts(Keeps):
    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()


class ReturnsAtOnce(Keeps):
    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        await trio.lowlevel.checkpoint()


async def test_an_observer_whose_worker_never_starts_gets_nothing_and_ends_with_the_edge(
    autojump_clock: MockClock,
) -> None:
    observer = NeverStarts()
    async with trio.open_nursery() as nursery:
        with at_work(observer, nursery) as (worker, log):
            end_one(log)
            await trio.sleep(100)
    assert (observer.batches, worker.pending.lost) == ([], 1)


async def test_an_observer_whose_worker_returns_gets_its_batches(autojump_clock: MockClock) -> None:
    observer = ReturnsAtOnce()
    async with trio.open_nursery() as nursery:
        with at_work(observer, nursery) as (_, log):
            end_one(log)
            await trio.sleep(1)
    assert len(observer.ended) == 1


@pytest.mark.parametrize("make", [Keeps, Raises, Works, lambda: Sleeps(0.05)])
async def test_an_end_at_any_step_leaves_nothing_and_counts_each_record_once(
    make: Callable[[], Keeps], autojump_clock: MockClock
) -> None:
    worker: ObserverWorker
    observer: Keeps
    made = 0

    async def steps() -> None:
        nonlocal worker, observer, made
        observer, made = make(), 0
        async with trio.open_nursery() as nursery:
            with at_work(observer, nursery) as (worker, log):
                for _ in range(3):
                    end_one(log)
                    made += 1
                    await trio.sleep(0.04)
                await trio.sleep(2 * GATHER_SECONDS)

    def check() -> None:
        failed = len(observer.ended) if isinstance(observer, Raises) else 0
        assert len(observer.ended) - failed + worker.pending.lost == made
        assert left_open() == before

    before = left_open()
    with capture_logs():
        assert await cancel_at_every_step(steps, check) > 10


@pytest.mark.parametrize("make", [Keeps, Works, lambda: Sleeps(0.05)])
async def test_a_worker_that_is_cancelled_before_any_step_counts_each_record_once(
    make: Callable[[], Keeps], autojump_clock: MockClock
) -> None:
    """The bound at the end of an edge cancels it."""
    before = left_open()
    for step in range(1, 1_000):
        observer, made, log = make(), 0, EdgeLog()
        worker = ObserverWorker(observer, "observer", log)
        with cancel_before(step, worker._scope) as counter, capture_logs():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(worker.run)
                for _ in range(40):
                    if not log.ends.read:
                        break
                    end_one(log)
                    made += 1
                    await trio.sleep(0.01)
                worker.end()
        seen = len(observer.ended)
        unfinished = seen + worker.pending.lost - made  # of a batch that it has kept, and was cancelled in
        assert 0 <= unfinished <= (seen if isinstance(observer, Sleeps) else 0)
        assert left_open() == before
        if not counter.reached:
            break
    assert step > 50
