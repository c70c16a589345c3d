"""The sessions of one service, without a clock; over time in test_pacer.py."""

from collections.abc import Generator
from math import inf
from typing import TypeVar

import pytest

from tests.strategies import make_session
from trioedge.session.meter import Meter
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Reason
from trioedge.stages.pacing.rate_group import EACH, RateGroup

T = TypeVar("T")
RATE = 1e6


def done(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class Line:
    """A session's carrier, which moves what the test says."""

    phase = "relaying"
    pacing = "kernel"
    began_at = 0.0

    def __init__(self) -> None:
        self.bytes_down = self.bytes_up = 0
        self.asked = 0

    def pace(self, down_rate: float, up_rate: float) -> None: ...

    def queued(self) -> tuple[int, int]:
        self.asked += 1
        return 0, 0

    def count_by(self, meters: tuple[Meter, Meter]) -> None: ...

    def cut(self, reason: Reason) -> None: ...


class World:
    def __init__(self, sessions: int) -> None:
        self.heated = 0
        self.released: list[Session] = []
        self.group = RateGroup((RATE, inf), 0.0, self.heat, self.released.append)
        self.lines = [Line() for _ in range(sessions)]
        self.sessions = [make_session(id=number) for number in range(sessions)]
        for session, line in zip(self.sessions, self.lines, strict=True):
            session.carrier = line
            self.group.enter(session, (RATE, inf), sessions)
        self.now = 0.0
        self.look()

    def heat(self) -> None:
        self.heated += 1

    def move(self, number: int, count: int) -> None:
        self.lines[number].bytes_down += count
        if self.sessions[number].quiet:
            self.sessions[number].wake()

    def look(self) -> None:
        self.now += 0.1
        done(self.group.share(done(self.group.observe(self.now))))

    @property
    def shares(self) -> list[float]:
        return [session.down_rate for session in self.sessions]


def test_one_that_rests_is_not_looked_at_before_it_says_that_it_moves() -> None:
    world = World(4)
    assert (world.group.active, [line.asked for line in world.lines]) == ({}, [0] * 4)
    heated = world.heated
    world.move(2, 25_000)
    world.move(2, 25_000)
    assert (len(world.group.active), world.heated - heated) == (1, 1)
    world.look()
    assert [line.asked for line in world.lines] == [0, 0, 1, 0]
    assert world.shares == pytest.approx([RATE / 4, RATE / 4, RATE, RATE / 4], rel=0.05)


def test_what_moves_between_a_look_and_its_end_is_seen_by_the_next() -> None:
    world = World(1)
    world.move(0, 10)
    steps = world.group.observe(1.0)
    next(steps)
    world.move(0, 50_000)
    done(steps)
    world.group.active or pytest.fail("it is forgotten")
    world.look()
    assert world.lines[0].asked == 2


def test_a_look_that_is_cut_short_leaves_those_it_did_not_come_to() -> None:
    world = World(3 * EACH)
    for number in range(3 * EACH):
        world.move(number, 1000)
    steps = world.group.observe(1.0)
    next(steps)
    steps.close()
    assert len(world.group.active) >= 3 * EACH - 1
    world.look()
    assert sum(line.asked for line in world.lines) >= 3 * EACH


def test_one_that_leaves_within_a_look_is_no_fault_and_no_bytes_are_lost() -> None:
    world = World(2 * EACH)
    for number in range(2 * EACH):
        world.move(number, 100_000)
    steps = world.group.observe(1.0)
    next(steps)
    for session in world.sessions[EACH:]:
        session.end(Completed())
    done(steps)
    assert len(world.group.members) == EACH
    assert world.group.effective[0] == pytest.approx(RATE - 500_000), "all that it may owe"


def test_one_that_goes_elsewhere_is_released_and_one_that_ends_is_not() -> None:
    world = World(2)
    world.sessions[0].service = "elsewhere"
    world.sessions[1].end(Completed())
    assert world.released == [world.sessions[0]]
    assert world.group.members == {}


@pytest.mark.parametrize(("reason", "owed"), [(Reason.FINISHED, True), (Reason.RESET, False)])
def test_what_the_kernel_dropped_is_not_owed(reason: Reason, owed: bool) -> None:
    world = World(4)
    world.move(0, 400_000)
    world.sessions[0].end(Completed(reason))
    world.look()
    assert (world.group.effective[0] < RATE) == owed


def test_shares_of_those_who_rest_follow_when_an_equal_share_is_another() -> None:
    world = World(20)
    for session in world.sessions[10:]:
        session.end(Completed())
    world.look()
    assert world.shares[:10] == [RATE / 10] * 10


def test_other_rates_leave_no_debt() -> None:
    world = World(1)
    world.move(0, 10_000_000)
    world.look()
    assert world.group.effective[0] == RATE / 2
    world.group.retune((RATE / 2, inf))
    done(world.group.share(list(world.group.members.values())))
    assert world.shares == [RATE / 2]
    world.move(0, 10_000_000)  # went in part at the old rate
    world.look()
    assert world.group.effective[0] == RATE / 2
