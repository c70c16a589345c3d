"""What one process takes of a rate, call by call; over time in test_pacer_workers.py."""

from collections.abc import Generator
from math import inf

import pytest

from tests.support.shared_memory import make_limits, scripted_locks
from trioedge.stages.pacing.shared_rate import SharedRate
from trioedge.stages.pacing.shares import GRAIN, Debt, Division, Flow, divide
from trioedge.structures.shared.limits import SharedLimits

RATES = 120.0, inf


class Process(SharedRate):
    def __init__(self, memory: SharedLimits, column: int) -> None:
        super().__init__(memory.of("edge", column, 0.0).rate("shop"), 0.0)

    def take(self, now: float, *demands: float, members: int | None = None) -> tuple[float, float]:
        counts = self.counts()
        for demand in demands:
            counts[0].add(demand)
        return self.claim(now, RATES, counts, len(demands), len(demands) if members is None else members)


def processes(count: int = 2) -> list[Process]:
    memory = make_limits()
    return [Process(memory, column) for column in range(count)]


def done(steps: Generator[None, None, Division]) -> Division:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            division: Division = end.value
            return division


def test_a_process_takes_what_the_others_leave_and_more_once_they_take_less() -> None:
    one, other = processes()
    assert one.take(1.0, inf) == (120, inf)
    assert other.take(1.1, inf) == (0, inf)
    assert one.take(1.2, inf) == (60, inf)
    assert other.take(1.2, inf, inf) == (60, inf)
    assert one.take(1.3, inf) == (40, inf)
    assert other.take(1.3, inf, inf) == (80, inf)


def test_a_process_without_active_sessions_takes_nothing_and_its_sessions_are_known() -> None:
    one, other = processes()
    one.take(1.0, members=3)
    assert one.parts[0] == 0
    assert other.take(1.0, inf) == (120, inf)
    assert (other.elsewhere, one.elsewhere) == (3, 0)
    one.leave()
    other.take(1.1, inf)
    assert other.elsewhere == 0


@pytest.mark.parametrize("forget", [False, True])
def test_a_debt_is_what_was_moved_beyond_the_parts_that_were_taken_meanwhile(forget: bool) -> None:
    one, other = processes()
    other.take(1.0, inf)
    one.take(1.0, inf)
    other.take(1.5, inf)
    one.take(1.5, inf)
    debts = Debt(), Debt()
    one.charge(2.5, debts, (GRAIN + 60 + 25, 1e9), RATES, forget=forget)
    assert debts[0].bytes == pytest.approx(0 if forget else 25), "0.5 s of nothing and 1 s of 60"
    assert debts[1].bytes == 0
    one.charge(3.0, debts, (30, 0), RATES, forget=False)
    assert debts[0].bytes == pytest.approx(0 if forget else 25)


def test_a_limited_flow_keeps_an_equal_share_while_it_waits_for_others_and_else_has_no_more_than_its_part() -> None:
    one, other = processes()
    other.take(1.0, inf)
    part = one.take(1.0, inf)[0]
    flow = Flow(60.0)
    flow.demand = inf
    assert one.share(0, done(divide(part, [inf], 1)), 60.0, flow) == 60
    assert one.share(0, done(divide(part, [inf], 1)), 90.0, flow) == 60, "it has not had more"
    other.take(1.1, inf)
    part = one.take(1.1, inf)[0]
    assert one.share(0, done(divide(part - 5, [inf], 1)), 60.0, flow) == 55, "5 repay a debt"
    light = Flow(1.0)
    assert one.share(0, done(divide(part, [0.0], 1)), 60.0, light) == 60


def test_without_the_lock_a_process_takes_less_at_once_and_never_more() -> None:
    locks = scripted_locks()
    memory = make_limits(locks=locks)
    one, other = Process(memory, 0), Process(memory, 1)
    assert one.take(1.0, inf)[0] == 120
    other.take(1.0, inf, inf)
    for lock in locks:
        lock.held = True
    assert one.take(1.1, inf)[0] == 40
    assert other.take(1.1, inf, inf) == (0, inf)
    flow = Flow(60.0)
    flow.demand = inf
    assert other.share(0, done(divide(0.0, [inf], 1)), 60.0, flow) == 60
    for lock in locks:
        lock.held = False
    assert other.take(1.2, inf, inf)[0] == 80
