"""The effect of two snapshots on one service at the same time, step by step."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.policies import FIELDS
from tests.support.services import Governed, cut_reasons
from trioedge.services.applying.effects import YOUNG, Effects, Recheck, Tally
from trioedge.services.applying.turn import SnapshotTurns
from trioedge.services.examine import Found
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import Service
from trioedge.services.snapshot import Change, Plan, Snapshot
from trioedge.session.verdict import CONTINUE, Reason
from trioedge.telemetry.log import EdgeLog

DISABLED = Settings(Policy(enabled=False))
FASTER = Settings(Policy(session_rate=5))


class Slow:
    """A watcher that takes three steps for each change, and keeps when each began and ended."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def changed(self, service: Service, change: Change) -> Iterator[None]:
        self.seen.append(f"begins {change.fields}")
        yield
        yield
        yield
        self.seen.append(f"ends {change.fields}")


class World(Governed):
    """One service `b` with a session, and effects that are stepped by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.apply(Snapshot({"b": Settings()}))
        self.session_of_b = self.carried("b")
        self.turns, self.slow = SnapshotTurns(), Slow()
        self.effects = Effects(self.services, self.registry, EdgeLog(), self.turns, frozenset(FIELDS))
        self.services.watch(self.slow)

    def found(self, snapshot: Snapshot) -> Found:
        return Found((change, None) for change in self.changes(snapshot))


@pytest.mark.parametrize("steps", range(8))
def test_a_change_that_has_begun_ends_before_another_one_of_the_same_service(steps: int) -> None:
    world = World()
    grant = Snapshot({"b": FASTER}, full=False)
    first, tally = world.turns.receive(grant), Tally()
    granting = world.effects.grant(world.found(grant), first, tally)
    for _ in range(steps):
        next(granting, None)
    later, taken = world.turns.receive(Snapshot({"b": DISABLED}, full=False)), Tally()
    for _ in world.effects.take_away(later, taken):
        pass
    service = world.services.get("b")
    assert service is not None
    assert not service.policy.enabled
    assert cut_reasons(world.session_of_b) == [Reason.EVICTED]
    for _ in granting:
        pass
    assert not service.policy.enabled
    assert service.policy.session_rate == 5
    begun = [line for line in world.slow.seen if line.startswith("begins")]
    assert world.slow.seen == [each for line in begun for each in (line, line.replace("begins", "ends"))]
    assert sorted(begun) == ["begins ('enabled',)", "begins ('session_rate',)"]
    assert tally.plan() == Plan(changed={"b": ("session_rate",)})
    assert taken.plan() == Plan(changed={"b": ("enabled",)}, evicted=1)


def test_a_change_of_another_service_does_not_wait() -> None:
    world = World()
    world.apply(Snapshot({"c": Settings()}, full=False))
    world.slow.seen.clear()
    grant = Snapshot({"b": FASTER}, full=False)
    granting = world.effects.grant(world.found(grant), world.turns.receive(grant), Tally())
    next(granting)
    next(granting)
    later = world.turns.receive(Snapshot({"c": DISABLED}, full=False))
    for _ in world.effects.take_away(later, Tally()):
        pass
    assert world.slow.seen == ["begins ('session_rate',)", "begins ('enabled',)", "ends ('enabled',)"]


def test_a_removal_of_a_later_snapshot_that_is_under_way_leaves_an_earlier_one_nothing_to_grant() -> None:
    world = World()
    world.apply(Snapshot({"a": Settings(), "b": Settings(), "c": Settings()}))
    grant = Snapshot({"b": FASTER}, full=False)
    first, tally = world.turns.receive(grant), Tally()
    found = world.found(grant)
    world.slow.seen.clear()
    later, taken = world.turns.receive(Snapshot({"c": Settings()})), Tally()
    removing = world.effects.take_away(later, taken)
    while not world.slow.seen:  # until it removes one of the two
        next(removing)
    for _ in world.effects.grant(found, first, tally):
        pass
    assert tally.plan() == Plan()
    for _ in removing:
        pass
    assert sorted(taken.plan().removed) == ["a", "b"]
    assert taken.plan().evicted == 1
    assert cut_reasons(world.session_of_b) == [Reason.EVICTED]


@pytest.mark.parametrize("steps", range(6))
def test_a_service_that_two_snapshots_remove_at_the_same_time_is_removed_once(steps: int) -> None:
    world = World()
    removal = Snapshot({}, frozenset("b"), full=False)
    first, second = (world.turns.receive(removal) for _ in range(2))
    one, other = Tally(), Tally()
    removing = world.effects.take_away(first, one)
    for _ in range(steps):
        next(removing, None)
    for _ in world.effects.take_away(second, other):
        pass
    for _ in removing:
        pass
    assert sorted([one.plan(), other.plan()], key=bool) == [Plan(), Plan(removed=("b",), evicted=1)]
    assert world.services.get("b") is None


def test_even_one_session_that_a_change_evicts_is_closed_in_the_background() -> None:
    world = World()
    evictions = world.registry.evictions
    evictions.start(lambda: None, EdgeLog())
    turn, tally = world.turns.receive(Snapshot({"b": DISABLED}, full=False)), Tally()
    for _ in world.effects.take_away(turn, tally):
        pass
    assert cut_reasons(world.session_of_b) == [Reason.EVICTED]
    assert (tally.plan().evicted, len(evictions), list(world.registry)) == (1, 1, [world.session_of_b])
    for _ in evictions.steps():
        pass
    assert list(world.registry) == []


def test_the_fields_of_both_parts_of_a_snapshot_are_in_the_order_of_the_policy_and_named_once() -> None:
    tally, old, new = Tally(), Settings(), Settings(Policy(down_rate=1))
    for fields in (("enabled", "password_hash"), ("down_rate", "hours.since", "password_hash")):
        tally.note(Change("b", old, new, fields))
    assert tally.plan().changed == {"b": ("enabled", "down_rate", "hours.since", "password_hash")}


@pytest.mark.parametrize(
    ("change", "plan"),
    [
        (Change("b", None, Settings()), Plan(added=("b",))),
        (Change("b", Settings(), None), Plan(removed=("b",))),
        (Change("b", Settings(), FASTER, ("session_rate",)), Plan(changed={"b": ("session_rate",)})),
    ],
)
def test_a_tally_is_true_with_its_first_change(change: Change, plan: Plan) -> None:
    tally = Tally()
    assert not tally
    tally.note(change)
    assert tally
    assert tally.plan() == plan


def test_young_objects_are_collected_once_for_500_services(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    monkeypatch.setattr("trioedge.services.applying.effects.collect_young", lambda: passes.append(1))
    world = World()
    many = Snapshot({f"{number}": Settings() for number in range(2 * YOUNG)}, full=False)
    for _ in world.effects.grant(world.found(many), world.turns.receive(many), Tally()):
        pass
    assert len(passes) == 2


@pytest.mark.parametrize(
    ("passed", "stage", "concerned"), [(None, 3, True), (3, 3, False), (4, 3, True), (0, 0, False)]
)
def test_a_decision_is_asked_again_about_sessions_that_have_passed_it(
    passed: int | None, stage: int, concerned: bool
) -> None:
    session: Any = SimpleNamespace(trace=None if passed is None else [0] * passed)
    assert Recheck(frozenset(), lambda _: CONTINUE, stage).concerns(session) is concerned
