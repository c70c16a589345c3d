"""Real processes that flood one key: what a shared gate admits to what its rate allows, in counts."""

import os
import signal
import struct
import time
from collections.abc import Callable

import pytest

from tests.support.shared_memory import SALT, real_locks, zeros
from trioedge.structures.gcra import ADMITTED, Gate, RateSpec
from trioedge.structures.live_counts import ENTERED
from trioedge.structures.shared.limits import SharedLimits

COLUMNS = 8
SECONDS = 0.8
MAX_TRIES = 20_000
WORK_SECONDS = 50e-6
"""Between two tries of a process; a session takes more."""


class Family:
    """Processes that share limits, and tell counts through memory of their own."""

    def __init__(self) -> None:
        self.limits = SharedLimits(zeros(SharedLimits.size(COLUMNS)), columns=COLUMNS, salt=SALT, locks=real_locks())  # type: ignore[arg-type]
        self.told = zeros(COLUMNS * 32)
        self.pids: dict[int, int] = {}

    def fork(self, column: int, work: Callable[[int], object]) -> None:
        pid = os.fork()
        if not pid:
            try:
                work(column)
            finally:
                os._exit(0)
        self.pids[column] = pid

    def kill(self, column: int) -> None:
        os.kill(self.pids[column], signal.SIGKILL)
        self.wait(column)

    def wait(self, *columns: int) -> None:
        for column in columns or tuple(self.pids):
            os.waitpid(self.pids.pop(column), 0)

    def tell(self, column: int, *values: float) -> None:
        struct.pack_into("<3d", self.told, 32 * column, *values)

    def read(self, column: int) -> tuple[float, ...]:
        return struct.unpack_from("<3d", self.told, 32 * column)


def rest(seconds: float) -> None:
    """Work for so long, as a session does, and leave the processor to others now and then."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
    os.sched_yield()


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize(("rate", "burst"), [(2, 200), (1_000, 200)])
def test_a_flood_over_several_processes_is_admitted_as_by_one_gate(workers: int, rate: int, burst: int) -> None:
    """One process is killed amid, and its successor goes on. One gate is asked the same, at the same times."""
    family, spec = Family(), RateSpec(rate, burst)
    tries = zeros(8 * MAX_TRIES * COLUMNS).cast("d")
    start = time.monotonic() + 0.05

    def flood(column: int) -> None:
        gate = family.limits.of("web", column, 0.0).gate(1, 100)
        number = admitted = 0
        while time.monotonic() < start:
            pass
        while (now := time.monotonic()) < start + SECONDS and number < MAX_TRIES:
            tries[column * MAX_TRIES + number] = now
            number += 1
            admitted += gate.admit("shop", now, spec) is ADMITTED
            family.tell(column, admitted, number, 0)
            rest(WORK_SECONDS)

    for column in range(workers):
        family.fork(column, flood)
    time.sleep(SECONDS / 2)
    family.kill(0)
    family.limits.release(0)
    family.limits.repair()
    family.fork(workers, flood)
    family.wait()
    told = [family.read(column) for column in range(workers + 1)]
    times = sorted(
        now for column in range(workers + 1) for now in tries[column * MAX_TRIES : (column + 1) * MAX_TRIES] if now
    )
    alone = Gate(1)
    allowed = sum(alone.admit("shop", now, spec) is ADMITTED for now in times)
    admitted = sum(each[0] for each in told)
    assert 0.98 <= admitted / allowed <= 1.02, (admitted, allowed, len(times))


def test_live_sessions_over_several_processes_stay_within_their_limit_and_those_of_a_killed_one_are_released() -> None:
    family, limit, workers = Family(), 50, 3

    def churn(column: int) -> None:
        counts = family.limits.of("web", column, 0.0).counter(1, 100)
        live, most = 0, 0
        for step in range(4_000):
            if step % 3 < 2:
                live += counts.enter("shop", limit) is ENTERED
                most = max(most, counts.total("shop"))
            elif live:
                counts.leave("shop")
                live -= 1
            family.tell(column, live, most, step)
        while column == 0:
            time.sleep(1)  # until it is killed

    for column in range(workers):
        family.fork(column, churn)
    family.wait(*range(1, workers))
    while family.read(0)[2] < 3_999:
        time.sleep(0.005)
    counts = family.limits.of("web", workers, 0.0).counter(1, 100)
    live, most = (
        [int(family.read(column)[0]) for column in range(workers)],
        max(family.read(column)[1] for column in range(workers)),
    )
    assert counts.total("shop") == sum(live)
    assert limit // 2 < most <= limit + COLUMNS - 1
    family.kill(0)
    for column in range(workers):
        family.limits.release(column)
    assert counts.total("shop") == 0


def test_a_process_that_is_killed_with_a_lock_costs_the_others_nothing_and_the_parent_frees_it() -> None:
    family, spec = Family(), RateSpec(0.001, 3)

    def take(column: int) -> None:
        family.limits.of("web", column, 0.0).gate(1, 100)._rows.place("shop").stripe.take()
        family.tell(column, 1, 0, 0)
        time.sleep(60)

    family.fork(0, take)
    while not family.read(0)[0]:
        time.sleep(0.005)
    gate = family.limits.of("web", 1, 0.0).gate(1, 100)
    stripe = gate._rows.place("shop").stripe
    assert not stripe.take(), "it has the lock"
    assert [gate.admit("shop", 5.0, spec) is ADMITTED for _ in range(4)] == [True, True, True, False]
    family.kill(0)
    assert not stripe.take()
    family.limits.release(0)
    assert family.limits.repair()
    assert stripe.take()
    stripe.free()
