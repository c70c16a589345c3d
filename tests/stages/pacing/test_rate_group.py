"""The sessions of one service without a clock; over time in test_pacer.py."""

from collections.abc import Generator
from math import inf
from typing import TypeVar

import pytest

from tests.support.carriers import CountedCarrier
from tests.support.governed import Governed
from tests.support.shared_memory import make_limits
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Reason
from trioedge.stages.pacing.rate_group import IDLE_TOLERANCE, SESSIONS_PER_STEP, TOLERANCE, RateGroup
from trioedge.stages.pacing.shared_rate import SharedRate
from trioedge.stages.pacing.shares import GRAIN

T = TypeVar("T")
RATE = 1e6


def done(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class World:
    """A group of live sessions that have been silent for one look.

    Attributes:
        marked: how often the group asked for a look.
        released: sessions that left the group and live on.
    """

    def __init__(self, sessions: int) -> None:
        self.marked = 0
        self.released: list[Session] = []
        self.group = RateGroup((RATE, inf), 0.0, self.mark, self.released.append)
        self.carriers = [CountedCarrier() for _ in range(sessions)]
        services = Governed(governed=False)
        self.sessions = [services.session() for _ in range(sessions)]
        for session, carrier in zip(self.sessions, self.carriers, strict=True):
            session.carrier = carrier
            self.group.enter(session, (RATE, inf), sessions)
        self.now = 0.0
        self.look()

    def mark(self) -> None:
        self.marked += 1

    def move(self, number: int, count: int) -> None:
        """Move bytes to the client of a session, as a relay does."""
        self.carriers[number].bytes_down += count
        if self.sessions[number].quiet:
            self.sessions[number].wake()

    def look(self) -> None:
        """Look at the group, 0.1 s after the last look."""
        self.now += 0.1
        done(self.group.share(done(self.group.observe(self.now)), self.now))

    @property
    def shares(self) -> list[float]:
        return [session.down_rate for session in self.sessions]

    @property
    def asked(self) -> list[int]:
        return [carrier.asked for carrier in self.carriers]


# Active and silent.


def test_a_silent_session_is_looked_at_again_only_after_its_next_byte_which_asks_for_one_look() -> None:
    world = World(4)
    assert (world.group.active, world.asked) == ({}, [0] * 4)
    assert all(session.quiet for session in world.sessions)
    marked = world.marked
    world.move(2, 25_000)
    world.move(2, 25_000)
    assert (len(world.group.active), world.marked - marked) == (1, 1)
    world.look()
    assert world.asked == [0, 0, 1, 0]
    assert world.shares == pytest.approx([RATE / 4, RATE / 4, RATE, RATE / 4], rel=0.05)


def test_every_member_is_active_or_quiet_at_every_step_of_a_look() -> None:
    world = World(2 * SESSIONS_PER_STEP)
    for number in range(0, 2 * SESSIONS_PER_STEP, 3):
        world.move(number, 30_000)
    members = world.group.members
    for _ in range(80):  # until the demands have faded
        world.now += 0.1
        for _ in world.group.observe(world.now):
            assert all(member in world.group.active or session.quiet for session, member in members.items())
    assert world.group.active == {}
    assert all(session.quiet for session in world.sessions)


def test_a_session_with_bytes_in_the_queue_of_the_kernel_stays_active_though_it_moves_none() -> None:
    world = World(1)
    world.carriers[0].unsent = 5_000, 0
    world.move(0, 5_000)
    for _ in range(50):
        world.look()
    assert len(world.group.active) == 1
    world.carriers[0].unsent = 0, 0
    for _ in range(50):
        world.look()
    assert world.group.active == {}


def test_bytes_that_move_between_a_look_and_its_end_are_seen_by_the_next() -> None:
    world = World(1)
    world.move(0, 10)
    steps = world.group.observe(1.0)
    next(steps)
    world.move(0, 50_000)
    done(steps)
    assert world.group.active, "the session was woken after it was looked at"
    world.now = 1.0
    world.look()
    assert world.carriers[0].asked == 2


# A look that is closed before its end.


def test_a_look_that_is_closed_leaves_the_sessions_behind_it_active() -> None:
    world = World(3 * SESSIONS_PER_STEP)
    for number in range(3 * SESSIONS_PER_STEP):
        world.move(number, 1000)
    steps = world.group.observe(0.2)
    next(steps)
    steps.close()
    assert len(world.group.active) >= 3 * SESSIONS_PER_STEP - 1
    world.now = 0.2
    world.look()
    assert sum(world.asked) >= 3 * SESSIONS_PER_STEP


@pytest.mark.parametrize("closed_looks", [1, 2, 4])
def test_a_look_that_is_closed_makes_no_debt_of_bytes_within_the_rate(closed_looks: int) -> None:
    """The next look charges for the whole time since the last one that came to its end."""
    count = 2 * SESSIONS_PER_STEP
    world = World(count)
    for _ in range(closed_looks):
        world.now += 0.1
        for number in range(count):
            world.move(number, int(RATE * 0.1 / count))
        steps = world.group.observe(world.now)
        for _ in range(2):
            next(steps)
        steps.close()
    for number in range(count):
        world.move(number, int(RATE * 0.1 / count))
    world.look()
    assert world.group.effective[0] == RATE
    assert not world.group.owes


def test_a_look_that_is_closed_forgets_no_bytes_beyond_the_rate() -> None:
    world = World(1)
    world.move(0, 400_000)
    steps = world.group.observe(0.2)
    next(steps)
    steps.close()
    world.now = 0.2
    world.look()
    assert world.group.effective[0] == RATE - 200_000 + GRAIN, "0.4 s worth of bytes in 0.2 s"


def test_a_division_that_is_closed_is_applied_to_the_other_silent_sessions_by_the_next() -> None:
    count = 4 * SESSIONS_PER_STEP
    world = World(count)
    for session in world.sessions[count // 2 :]:
        session.end(Completed())
    members = done(world.group.observe(0.2))
    steps = world.group.share(members, world.now)
    while world.shares[0] != 2 * RATE / count:
        next(steps)
    steps.close()
    assert world.shares[count // 2 - 1] == RATE / count, "closed before it came here"
    world.now = 0.2
    world.look()
    assert world.shares[: count // 2] == [2 * RATE / count] * (count // 2)


# Sessions that leave.


def test_sessions_that_end_within_a_look_are_charged_once() -> None:
    world = World(2 * SESSIONS_PER_STEP)
    for number in range(2 * SESSIONS_PER_STEP):
        world.move(number, 100_000)
    steps = world.group.observe(0.2)
    next(steps)
    for session in world.sessions[SESSIONS_PER_STEP:]:
        session.end(Completed())
    done(steps)
    assert len(world.group.members) == SESSIONS_PER_STEP
    assert world.group.effective[0] == pytest.approx(RATE - 500_000), "the maximum debt"


def test_a_session_that_gets_another_service_is_released_and_one_that_ends_is_not() -> None:
    world = World(2)
    world.sessions[0].service = "elsewhere"
    world.sessions[1].end(Completed())
    assert world.released == [world.sessions[0]]
    assert world.group.members == {}
    assert [session.quiet for session in world.sessions] == [False, False]


@pytest.mark.parametrize(("reason", "owed"), [(Reason.FINISHED, True), (Reason.RESET, False)])
def test_bytes_of_a_session_that_was_reset_are_not_owed_because_the_kernel_dropped_them(
    reason: Reason, owed: bool
) -> None:
    world = World(4)
    world.move(0, 400_000)
    world.sessions[0].end(Completed(reason))
    assert world.group.owes
    world.look()
    assert (world.group.effective[0] < RATE) == owed


# Shares.


def test_the_shares_of_silent_sessions_follow_the_equal_share() -> None:
    world = World(20)
    for session in world.sessions[10:]:
        session.end(Completed())
    world.look()
    assert world.shares[:10] == [RATE / 10] * 10


def test_an_equal_share_that_differs_little_is_not_applied_to_silent_sessions() -> None:
    count = int(1 / IDLE_TOLERANCE) * 2
    world = World(count)
    before = [len(carrier.paced) for carrier in world.carriers]
    world.sessions[0].end(Completed())
    world.look()
    assert [len(carrier.paced) for carrier in world.carriers] == before


def test_a_share_that_differs_little_is_not_applied_to_an_active_session() -> None:
    world = World(2)
    member = world.group.members[world.sessions[0]]
    member.apply(RATE / 2 * (1 + TOLERANCE / 2), inf)
    assert world.shares[0] == RATE / 2
    member.apply(RATE / 2 * (1 + TOLERANCE * 2), inf)
    assert world.shares[0] == RATE / 2 * (1 + TOLERANCE * 2)


def test_a_session_that_enters_while_there_is_a_debt_gets_its_share_of_the_effective_rate() -> None:
    world = World(1)
    world.move(0, 10_000_000)
    world.look()
    assert world.group.effective[0] == RATE / 2
    session = Governed(governed=False).session()
    world.group.enter(session, (RATE, inf), 2)
    assert session.down_rate == RATE / 4


def test_other_rates_leave_no_debt() -> None:
    world = World(1)
    world.move(0, 10_000_000)
    world.look()
    assert world.group.effective[0] == RATE / 2
    world.group.retune((RATE / 2, inf))
    done(world.group.share(list(world.group.members.values()), world.now))
    assert world.shares == [RATE / 2]
    world.move(0, 10_000_000)  # went in part at the old rate
    world.look()
    assert world.group.effective[0] == RATE / 2


@pytest.mark.parametrize("left", [1, 2])
def test_sessions_may_all_leave_between_two_steps_of_a_claim_of_several_workers(left: int) -> None:
    world = World(2)
    world.group.shared = SharedRate(make_limits().of("edge", 0, 1.5).rate("shop"), 0.0)
    for number in range(2):
        world.move(number, 10**6)
    steps = world.group.share(done(world.group.observe(0.3)), 0.3)
    next(steps)
    for session in world.sessions[:left]:
        world.group.leave(world.group.members[session])
    done(steps)
    assert len(world.group.members) == 2 - left
