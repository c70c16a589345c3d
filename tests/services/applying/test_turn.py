"""Snapshots in their order, and what each of them takes away."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.policies import HASHES
from tests.support.services import Tenants
from tests.support.steps import STEP_SECONDS, longest_step
from trioedge.services.applying.turn import SnapshotTurns, Turn
from trioedge.services.credentials import Credentials
from trioedge.services.policy import Policy, Settings
from trioedge.services.snapshot import Snapshot

OPEN = Settings(Policy(down_rate=5, accept=("192.0.2.1",)), Credentials(HASHES[1]))


def said(number: int | None = 1, **policy: Any) -> Settings:
    return Settings(Policy(**policy), Credentials(None if number is None else HASHES[number]))


@pytest.mark.parametrize(
    ("after", "left"),
    [
        (said(), OPEN),
        (said(session_rate=0.0, accept=("junk",), max_sessions=1), OPEN),
        (said(enabled=False), Settings(Policy(enabled=False, down_rate=5, accept=("192.0.2.1",)), OPEN.credentials)),
        (said(None), Settings(OPEN.policy)),
        (said(2), Settings(OPEN.policy)),
        (said(None, enabled=False), Settings(Policy(enabled=False, down_rate=5, accept=("192.0.2.1",)))),
    ],
)
def test_a_snapshot_takes_away_the_service_and_the_password_and_nothing_else(after: Settings, left: Settings) -> None:
    found = Turn(Snapshot({"b": after}, full=False)).leaves("b", OPEN)
    assert found == left
    assert (found is OPEN) is (left is OPEN)


@pytest.mark.parametrize("after", [said(), said(2), said(None, enabled=False)])
def test_nothing_is_taken_from_a_service_that_is_disabled_and_has_no_password(after: Settings) -> None:
    closed = said(None, enabled=False)
    assert Turn(Snapshot({"b": after}, full=False)).leaves("b", closed) is closed


@pytest.mark.parametrize("after", [said(), said(2), said(enabled=False)])
def test_taking_away_twice_takes_no_more(after: Settings) -> None:
    turn = Turn(Snapshot({"b": after}, full=False))
    once = turn.leaves("b", OPEN)
    assert once is not None
    assert turn.leaves("b", once) is once


@pytest.mark.parametrize(
    ("snapshot", "left"),
    [
        (Snapshot({}, full=False), OPEN),
        (Snapshot({}, frozenset("a"), full=False), OPEN),
        (Snapshot({}, frozenset("b"), full=False), None),
        (Snapshot({}, frozenset("b"), full=False, allow_removal=False), OPEN),
        (Snapshot({}), OPEN),
        (Snapshot({}, allow_removal=True), None),
        (Snapshot({"b": OPEN}, frozenset("b"), full=False), OPEN),
    ],
)
def test_a_removal_takes_the_service_once_it_is_allowed(snapshot: Snapshot, left: Settings | None) -> None:
    assert Turn(snapshot).leaves("b", OPEN) is left


def names(tenants: Tenants, snapshot: Snapshot) -> tuple[list[str], list[str]]:
    """Return the services that a snapshot closes, and those that it removes."""
    turn = Turn(snapshot)
    deque(turn.judge(tenants.services, ()), maxlen=0)
    closed = [name for name in turn.closes(tenants.services) if name is not None]
    return closed, [name for name in turn.gone(tenants.services) if name is not None]


@pytest.mark.parametrize(
    ("snapshot", "expected"),
    [
        (Snapshot({"a": said(None), "b": said(None, enabled=False), "x": said(enabled=False)}), (["b"], ["c"])),
        (Snapshot({"a": said(None)}, frozenset("cx"), full=False), ([], ["c"])),
        (Snapshot({}), ([], [])),
        (Snapshot({}, allow_removal=True), ([], ["a", "b", "c"])),
    ],
)
def test_only_services_that_lose_something_are_given(snapshot: Snapshot, expected: tuple[list[str], list[str]]) -> None:
    tenants = Tenants()
    tenants.apply(Snapshot({name: said(None) for name in "abc"}))
    assert names(tenants, snapshot) == expected


class OnceOnly(Mapping[str, Settings]):
    """Settings that can be read once, and then raise."""

    def __init__(self, settings: Mapping[str, Settings]) -> None:
        self._settings = dict(settings)
        self._left = 1

    def __getitem__(self, name: str) -> Settings:
        return self._settings[name]

    def __len__(self) -> int:
        return len(self._settings)

    def __iter__(self) -> Iterator[str]:
        self._left -= 1
        if self._left < 0:
            raise LookupError("no names")
        return iter(self._settings)


def test_the_code_of_the_settings_of_one_snapshot_costs_no_other_snapshot() -> None:
    tenants = Tenants()
    ahead = Turn(Snapshot(OnceOnly({name: said(None) for name in "ab"}), full=False))
    turn = Turn(Snapshot({}, frozenset("ab"), full=False, allow_removal=False))
    deque(turn.judge(tenants.services, (ahead,)), maxlen=0)
    assert turn.refusal.startswith("it would remove 2 of 2 services")


@pytest.mark.parametrize("full", [True, False])
def test_no_step_is_long_if_there_are_20_000_services(full: bool) -> None:
    tenants = Tenants()
    tenants.apply(Snapshot({f"{number}": said(None) for number in range(20_000)}))
    named: Mapping[str, Settings] = {f"{number}": said(None, down_rate=1) for number in range(20_000)}
    ahead = [Turn(Snapshot(named, full=True, allow_removal=True)), Turn(Snapshot(named, full=False))]
    turn = Turn(Snapshot(dict(named), full=full, allow_removal=False))

    def work() -> Any:
        yield from turn.closes(tenants.services)
        yield from turn.judge(tenants.services, ahead)
        yield from turn.gone(tenants.services)

    assert min(longest_step(work())[1] for _ in range(3)) < STEP_SECONDS


def steps_of(work: Any) -> int:
    return sum(1 for each in work if each is None)


def test_a_step_is_512_services() -> None:
    tenants = Tenants()
    tenants.apply(Snapshot({f"{number}": said(None) for number in range(2_000)}))
    named = {f"{number}": said(None, down_rate=1) for number in range(2_000)}
    ahead = [Turn(Snapshot(named, full=True, allow_removal=True))]
    turn = Turn(Snapshot(named, full=True, allow_removal=False))
    assert steps_of(turn.closes(tenants.services)) == 4
    assert steps_of(turn.judge(tenants.services, [])) == 4
    assert steps_of(turn.judge(tenants.services, ahead)) == 0, "its removals are allowed already"
    assert steps_of(turn.gone(tenants.services)) == 4
    turn = Turn(Snapshot(named, full=True, allow_removal=False))
    assert steps_of(turn.judge(tenants.services, ahead)) == 16


def without(removed: str, **services: Settings) -> Snapshot:
    return Snapshot(services, frozenset(removed), full=False, allow_removal=False)


@pytest.mark.parametrize(
    ("before", "ahead", "snapshot", "refusal"),
    [
        # The names before it, the snapshots ahead of it, itself, and what is said of its removals.
        ("abc", [], Snapshot({"a": said()}), ""),
        ("abc", [], Snapshot({}), "it would remove 3 of 3 services"),
        ("abc", [], Snapshot({"x": said()}), ""),
        ("a", [], Snapshot({}), "it would remove the only service"),
        ("", [], Snapshot({}), ""),
        ("ab", [], without("ab"), "it would remove 2 of 2 services"),
        ("ab", [], without("axyz"), ""),
        ("ab", [], without("ab", c=said()), ""),
        ("ab", [Snapshot({"c": said()}, full=False)], without("ab"), ""),
        ("abc", [without("c")], without("ab"), "it would remove 2 of 2 services"),
        ("abc", [without("ab")], Snapshot({}), "it would remove the only service"),
        ("abc", [without("abc")], without("abc"), "it would remove 3 of 3 services"),
        ("abc", [Snapshot({"a": said()}, allow_removal=True)], Snapshot({}), "it would remove the only service"),
    ],
)
def test_removals_are_judged_by_the_services_that_the_snapshots_ahead_leave(
    before: str, ahead: list[Snapshot], snapshot: Snapshot, refusal: str
) -> None:
    tenants = Tenants()
    tenants.apply(Snapshot({name: said() for name in before}))
    turns: list[Turn] = []
    for each in [*ahead, snapshot]:
        turns.append(Turn(each))
        deque(turns[-1].judge(tenants.services, turns[:-1]), maxlen=0)
    assert refusal in turns[-1].refusal
    assert bool(turns[-1].refusal) is bool(refusal)
    assert turns[-1].removes is not bool(refusal)


def test_turns_come_in_the_order_of_receipt_and_one_that_is_over_is_passed() -> None:
    turns = SnapshotTurns()
    first, second, third = (turns.receive(Snapshot({})) for _ in range(3))
    assert (turns.ahead(first), turns.ahead(second), turns.ahead(third)) == ([], [first], [first, second])
    turns.end(second)
    assert turns.ahead(third) == [first]
    assert list(turns.behind(first)) == [second, third], "what the second one took away stays away"
    turns.end(first)
    assert (len(turns), turns.ahead(third), list(turns.behind(third))) == (1, [], [])
    turns.end(third)
    assert not turns


def test_a_mapping_that_is_no_dict_is_read_once_so_that_its_code_runs_in_its_own_turn() -> None:
    class Lazy(Mapping[str, Settings]):
        reads = 0

        def __getitem__(self, name: str) -> Settings:
            self.reads += 1
            return said(enabled=False)

        def __iter__(self) -> Any:
            return iter("b")

        def __len__(self) -> int:
            return 1

    lazy = Lazy()
    turn = Turn(Snapshot(lazy, full=False))
    reads = lazy.reads
    for _ in range(3):
        assert turn.leaves("b", OPEN) is not OPEN
    assert lazy.reads == reads
