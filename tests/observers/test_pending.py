from collections.abc import Generator
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trioedge as te
from trioedge.observers.pending import Pending
from trioedge.services.services import Services
from trioedge.session.meter import Total
from trioedge.telemetry.ends import Ends
from trioedge.telemetry.records import CAPACITY
from trioedge.telemetry.starts import Starts
from trioedge.testing import make_session

T = TypeVar("T")


def finished(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


class World:
    """The queues of an edge, an observer's pending records, and how often it was woken."""

    def __init__(self) -> None:
        self.starts, self.ends, self.woken = Starts(), Ends(), 0
        self.services = Services(Total(), Total(), governed=True)
        self.pending = Pending(self.starts, self.ends, ("first", "Forward"), self._wake)
        self.accept = self.starts.recording(lambda session: None)

    def _wake(self) -> None:
        self.woken += 1

    def try_take(self) -> te.Batch | None:
        return finished(self.pending.take(5.0))

    def take(self) -> te.Batch:
        batch = self.try_take()
        assert batch is not None
        return batch

    def sets(self, name: str, after: te.Settings | None, *fields: str) -> None:
        """Change a service as a snapshot does."""
        service = self.services.get(name)
        change = te.Change(name, None if service is None else te.Settings(service.policy), after, fields)
        self.pending.changed(self.services.apply(change, None), change)


@pytest.fixture
def world() -> World:
    return World()


def test_a_batch_has_what_was_accepted_and_what_ended_in_order_and_the_names_of_the_stages(world: World) -> None:
    sessions = [make_session(), make_session()]
    for session in sessions:
        world.accept(session)
    world.ends.add(sessions[1], te.Completed())
    world.ends.add(sessions[0], te.Reject(te.Reason.RATE))
    batch = world.take()
    assert [start.id for start in batch.accepted] == [session.id for session in sessions]
    assert [(end.id, end.refused) for end in batch.ended] == [(sessions[1].id, False), (sessions[0].id, True)]
    assert (batch.stages, batch.offset, batch.lost, batch.changes) == (("first", "Forward"), 5.0, 0, ())
    assert world.try_take() is None


def test_it_is_woken_by_a_record_once_it_has_taken_all(world: World) -> None:
    assert world.try_take() is None
    world.accept(make_session())
    assert world.woken == 1
    world.sets("shop", te.Settings())
    assert world.woken == 2
    world.take()
    world.ends.add(make_session(), te.Completed())
    assert world.woken == 3


def test_a_slow_observer_loses_the_oldest_of_each_kind_and_its_next_batch_says_how_many(world: World) -> None:
    session = make_session()
    for number in range(CAPACITY + 3):
        world.ends.add(session, te.Completed(te.Reason.FINISHED, str(number)))
    for _ in range(CAPACITY + 2):
        world.accept(session)
    assert world.pending.lost == 5
    batch = world.take()
    assert (batch.ended[0].outcome.detail, len(batch.ended), len(batch.accepted), batch.lost) == (
        "3", CAPACITY, CAPACITY, 5,
    )  # fmt: skip
    world.accept(session)
    assert (world.take().lost, world.pending.lost) == (0, 5)


def test_the_records_of_a_batch_that_was_not_observed_are_lost(world: World) -> None:
    world.accept(make_session())
    world.sets("shop", te.Settings())
    world.pending.drop(world.take())
    assert world.pending.lost == 2
    world.accept(make_session())
    assert world.take().lost == 2


def test_what_is_left_when_it_is_closed_is_lost_and_what_comes_later_is_not(world: World) -> None:
    world.accept(make_session())
    world.ends.add(make_session(), te.Completed())
    world.sets("shop", te.Settings())
    world.pending.close()
    assert world.pending.lost == 3
    assert not world.starts.read
    assert not world.ends.read
    assert world.pending.lost == 3


SLOW, FAST = te.Settings(te.Policy(down_rate=1)), te.Settings(te.Policy(down_rate=9))


@pytest.mark.parametrize(
    ("steps", "seen"),
    [
        ([(SLOW,)], [(None, SLOW, ())]),
        ([(SLOW,), (FAST, "down_rate")], [(None, FAST, ())]),
        ([(SLOW,), (None,)], []),
        ([(SLOW,), (None,), (FAST,)], [(None, FAST, ())]),
    ],
)
def test_changes_of_a_new_service_become_one(
    steps: list[Any], seen: list[tuple[te.Settings | None, te.Settings | None, tuple[str, ...]]], world: World
) -> None:
    for after, *fields in steps:
        world.sets("shop", after, *fields)
    batch = world.try_take()
    assert [(each.before, each.after, each.fields) for each in (batch or te.Batch()).changes] == seen


@pytest.mark.parametrize(
    ("steps", "seen"),
    [
        ([(FAST, "down_rate")], [(SLOW, FAST, ("down_rate",))]),
        ([(FAST, "down_rate"), (FAST, "up_rate", "down_rate")], [(SLOW, FAST, ("down_rate", "up_rate"))]),
        ([(FAST, "down_rate"), (None,)], [(SLOW, None, ())]),
        ([(None,), (FAST,)], [(SLOW, None, ()), (None, FAST, ())]),  # another service of this name
    ],
)
def test_changes_of_a_service_that_was_there_become_one(
    steps: list[Any], seen: list[tuple[te.Settings | None, te.Settings | None, tuple[str, ...]]], world: World
) -> None:
    world.sets("shop", SLOW)
    world.take()
    for after, *fields in steps:
        world.sets("shop", after, *fields)
    assert [(each.before, each.after, each.fields) for each in world.take().changes] == seen


def test_a_change_has_no_credentials_and_names_them_if_they_changed(world: World) -> None:
    secret = te.Settings(SLOW.policy, te.Credentials(te.hash_password("secret")))
    world.sets("shop", secret)
    (added,) = world.take().changes
    assert added.after == SLOW
    service = world.services.get("shop")
    assert service is not None
    world.pending.changed(service, te.Change("shop", SLOW, secret, ("password_hash",)))
    (changed,) = world.take().changes
    assert (changed.before, changed.after, changed.fields) == (SLOW, SLOW, ("password_hash",))


def test_more_changes_than_a_batch_has_come_in_the_next_one_and_none_is_lost(world: World) -> None:
    for number in range(2 * CAPACITY + 1):
        world.sets(f"s{number}", te.Settings())
    woken, names = world.woken, []
    for size in (CAPACITY, CAPACITY, 1):
        batch = world.take()
        assert len(batch.changes) == size
        names += [change.name for change in batch.changes]
    assert world.woken == woken + 2  # by itself, because something is left
    assert names == [f"s{number}" for number in range(2 * CAPACITY + 1)]
    assert (world.try_take(), world.pending.lost) == (None, 0)


def test_a_batch_is_made_in_short_steps_and_what_happens_meanwhile_is_in_it_or_in_the_next_one(world: World) -> None:
    sessions = [make_session() for _ in range(100)]
    for session in sessions:
        world.accept(session)
        world.ends.add(session, te.Completed())
        world.sets(str(session.id), te.Settings())
    late, steps = make_session(), 0
    taking = world.pending.take(0.0)
    while True:
        try:
            next(taking)
        except StopIteration as end:
            batch = end.value
            break
        steps += 1
        if steps == 8:  # all ends are taken, and not all starts
            world.accept(late)
            world.ends.add(late, te.Completed())
            world.sets(str(sessions[-1].id), None)
    assert steps >= 18
    assert ([start.id for start in batch.accepted][-1], [end.id for end in batch.ended][-1]) == (
        late.id,
        sessions[-1].id,
    )
    assert len(batch.changes) == 99  # the last one came and went
    assert [end.id for end in world.take().ended] == [late.id]


def test_the_records_of_a_batch_that_was_not_finished_are_lost(world: World) -> None:
    for _ in range(100):
        world.accept(make_session())
        world.ends.add(make_session(), te.Completed())
        world.sets(str(make_session().id), te.Settings())
    taking = world.pending.take(0.0)
    for _ in range(15):
        next(taking)
    taking.close()
    world.pending.close()
    assert world.pending.lost == 300


@given(st.lists(st.tuples(st.sampled_from(["accept", "end", "take", "drop"]), st.integers(1, 700)), max_size=30))
def test_each_record_is_in_one_batch_or_lost_and_no_start_comes_after_its_end(steps: list[tuple[str, int]]) -> None:
    world = World()
    live: list[te.Session] = []
    made = taken = told = 0
    ended: set[int] = set()
    for step, count in [*steps, ("take", 1)]:
        for _ in range(count if step in ("accept", "end") else 0):
            if step == "accept":
                live.append(make_session())
                world.accept(live[-1])
                made += 1
            elif live:
                world.ends.add(live.pop(0), te.Completed())
                made += 1
        if step in ("take", "drop") and (batch := world.try_take()) is not None:
            assert not ended.intersection(start.id for start in batch.accepted)
            ended.update(end.id for end in batch.ended)
            told += batch.lost
            if step == "take":
                taken += len(batch)
            else:
                world.pending.drop(batch)
    assert taken + world.pending.lost == made
    assert told <= world.pending.lost
