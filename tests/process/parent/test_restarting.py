import signal
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from tests.support.parents import FakeChildren, FakeLog, fake_children
from trioedge.process.parent import restarting as module
from trioedge.process.parent.ending import Ending
from trioedge.process.parent.restarting import PATIENCE_SECONDS, TRIAL_SECONDS, Restarting
from trioedge.process.workers.slots import CONTROL, ProcessState

TRIAL = 4_000_000


class World:
    """A restart whose trials and images are the test's."""

    def __init__(self, children: FakeChildren, monkeypatch: pytest.MonkeyPatch) -> None:
        self.children, self.log = children, FakeLog()
        self.ending = Ending(children, 10.0, self.log)
        self.trials: list[Any] = []
        self.kills: list[tuple[int, int]] = []
        self.images = 0
        self.fault: OSError | None = None
        monkeypatch.setattr(module, "start_trial", self._start_trial)
        monkeypatch.setattr(module, "replace_image", self._replace_image)
        monkeypatch.setattr(module, "kill_trial", lambda pid, number: self.kills.append((pid, number)))

    def given(self) -> list[tuple[str, str]]:
        return [("a", "tcp://127.0.0.1:1")]

    def _start_trial(self, _: str, bound: Any) -> int:
        if self.fault is not None:
            raise self.fault
        self.trials.append(bound)
        return TRIAL

    def _replace_image(self, *_: object) -> None:
        self.images += 1
        if self.fault is not None:
            raise self.fault

    def restarting(self, *, succeeds: bool = False) -> Restarting:
        def pass_on() -> NoReturn:
            raise AssertionError("the image passes on, and is a fake")

        return Restarting(self.children, self.ending, self, pass_on, self.log, succeeds=succeeds)  # type: ignore[arg-type]

    def refusals(self) -> list[str]:
        (control,) = self.children.controls(old=False)
        return [each["why"] for each in self.children.told(control) if each["do"] == "refused"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with fake_children() as children:
        yield World(children, monkeypatch)


@pytest.fixture
def succession(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Children of generation 0 that serve, in an image of generation 1."""
    with fake_children() as children:
        children.generation = 1
        yield World(children, monkeypatch)


def test_a_trial_that_ends_well_replaces_the_image(world: World) -> None:
    restarting = world.restarting()
    restarting.begin(0.0)
    assert world.trials == [[("a", "tcp://127.0.0.1:1")]]
    assert restarting.is_trial(TRIAL)
    assert not restarting.is_trial(1)
    restarting.tried(0)
    assert world.images == 1
    assert not restarting.is_trial(TRIAL)


@pytest.mark.parametrize(("code", "how"), [(3, "exit code 3"), (1, "exit code 1"), (-9, "signal SIGKILL")])
def test_a_trial_that_fails_is_told_to_operators_and_another_one_may_begin(world: World, code: int, how: str) -> None:
    restarting = world.restarting()
    restarting.begin(0.0)
    restarting.tried(code)
    assert world.images == 0
    (why,) = world.refusals()
    assert how in why
    restarting.begin(1.0)
    assert len(world.trials) == 2


def test_a_second_order_amid_a_trial_does_nothing(world: World) -> None:
    restarting = world.restarting()
    restarting.begin(0.0)
    restarting.begin(0.1)
    assert len(world.trials) == 1
    assert world.log.events == ["a restart is under way already"]


def _begin(restarting: Restarting) -> None:
    restarting.begin(0.0)


def _tried(restarting: Restarting) -> None:
    restarting._trial = TRIAL, 1.0
    restarting.tried(0)


@pytest.mark.parametrize("step", [_begin, _tried])
def test_a_system_that_refuses_a_trial_or_an_image_leaves_the_old_version(
    world: World, step: Callable[[Restarting], None]
) -> None:
    restarting = world.restarting()
    world.fault = OSError(24, "Too many open files")
    step(restarting)
    assert world.refusals() == ["Too many open files"]
    world.fault = None
    restarting.begin(1.0)
    assert world.trials


def test_a_trial_that_hangs_is_killed_after_a_minute(world: World) -> None:
    restarting = world.restarting()
    restarting.begin(0.0)
    restarting.proceed(2, TRIAL_SECONDS)
    assert world.kills == []
    restarting.proceed(2, TRIAL_SECONDS + 1)
    restarting.proceed(2, TRIAL_SECONDS + 2)
    assert world.kills == [(TRIAL, signal.SIGKILL)]
    restarting.tried(-9)
    assert world.images == 0


def test_a_stop_ends_a_trial_and_one_that_ends_well_then_changes_nothing(world: World) -> None:
    restarting = world.restarting()
    restarting.end()
    restarting.begin(0.0)
    world.ending.stop(0.0)
    restarting.end()
    assert world.kills == [(TRIAL, signal.SIGKILL)]
    restarting.tried(0)
    assert world.images == 0


def test_the_old_children_drain_once_every_new_one_is_ready(succession: World) -> None:
    children, restarting = succession.children, succession.restarting(succeeds=True)
    old_control, *old = children.all.values()
    new = [children.add(number, 1, state=ProcessState.STARTING) for number in range(CONTROL, 2)]
    for each in new:
        assert not restarting.proceed(2, 0.0)
        assert each.column is not None
        children.memory.slots.set_state(each.column, ProcessState.READY)
    assert restarting.proceed(2, 1.0)
    assert not restarting.proceed(2, 1.1)
    assert [each["do"] for each in children.told(old_control)] == ["retire"]
    assert [each["do"] for child in old for each in children.told(child)] == ["drain", "drain"]
    assert [children.told(each) for each in new] == [[], [], []]
    assert succession.log.events == ["restarted"]


def test_a_new_version_that_lacks_a_child_does_not_succeed(succession: World) -> None:
    restarting = succession.restarting(succeeds=True)
    for number in (CONTROL, 0):
        succession.children.add(number, 1)
    assert not restarting.proceed(2, 0.0)


def test_a_new_version_that_takes_long_is_told_of_once_and_another_restart_may_begin(succession: World) -> None:
    restarting = succession.restarting(succeeds=True)
    for second in range(100):
        restarting.proceed(2, float(second))
    assert succession.log.events == ["the new version is not ready yet, and the old one goes on"]
    assert succession.log.lines[0][1] == {"seconds": PATIENCE_SECONDS}
    restarting.begin(100.0)
    restarting.tried(0)
    assert succession.images == 1
