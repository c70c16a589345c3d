"""Whatever comes between them, snapshots have the effect of being applied one after the other."""

from collections.abc import Mapping

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.strategies import examples
from tests.support.policies import FIELDS, HASHES
from tests.support.services import Governed
from trioedge.loop import slices
from trioedge.loop.slices import Stepwise
from trioedge.services.applying.effects import Effects, Tally
from trioedge.services.applying.turn import Turn
from trioedge.services.control_plane import SnapshotError
from trioedge.services.credentials import Credentials
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import Service
from trioedge.services.snapshot import Change, Snapshot
from trioedge.telemetry.log import EdgeLog

NAMES = "abc"

policies = st.builds(
    Policy,
    enabled=st.booleans(),
    down_rate=st.sampled_from([None, 1, 2]),
    device_limit=st.sampled_from([None, 1]),
    accept=st.sampled_from([(), ("192.0.2.0/24",)]),
)
settings = st.builds(Settings, policies, st.builds(Credentials, st.sampled_from(HASHES)))
faulty = st.just(Settings(Policy(session_rate=0)))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Draw snapshots of a few services, some in full, and some with a fault."""
    services = draw(st.dictionaries(st.sampled_from(NAMES), settings, max_size=3))
    if draw(st.integers(0, 4)) == 0:
        services["faulty"] = draw(faulty)
    if draw(st.booleans()):
        return Snapshot(services, allow_removal=True)
    return Snapshot(services, draw(st.frozensets(st.sampled_from(NAMES))) - services.keys(), full=False)


@attrs.frozen
class Step:
    """A snapshot, and when it comes and is cancelled.

    Attributes:
        snapshot: it.
        pause: how often the control plane gives way before it sends the snapshot.
        patience: how often it gives way before it cancels the snapshot; None if it does not.
    """

    snapshot: Snapshot
    pause: int
    patience: int | None


steps = st.builds(Step, snapshots(), st.integers(0, 12), st.none() | st.integers(1, 25))


def left(before: Mapping[str, Settings], snapshot: Snapshot) -> dict[str, Settings]:
    """Return what is left of services when a snapshot has taken away."""
    after = {}
    for name, settings in before.items():
        if name not in snapshot.services:
            if not (snapshot.full or name in snapshot.removed):
                after[name] = settings
            continue
        said, policy, credentials = snapshot.services[name], settings.policy, settings.credentials
        if not said.policy.enabled:
            policy = attrs.evolve(policy, enabled=False)
        if said.credentials != credentials:
            credentials = Credentials()
        after[name] = Settings(policy, credentials)
    return after


def applied(before: Mapping[str, Settings], snapshot: Snapshot) -> dict[str, Settings]:
    """Return the services when a snapshot without a fault is applied."""
    kept = {} if snapshot.full else {name: each for name, each in before.items() if name not in snapshot.removed}
    return {**kept, **snapshot.services}


class Watched(Effects):
    """Effects that look for what is open and should not be.

    Attributes:
        order: the snapshots in the order in which they came.
        taken: those of them that have taken away.
        faults: found while a change was made.
    """

    order: list[Snapshot]
    taken: list[Snapshot]
    faults: list[str]

    def take_away(self, turn: Turn, tally: Tally) -> Stepwise[None]:
        yield from super().take_away(turn, tally)
        self.taken.append(turn.snapshot)

    def changed(self, service: Service, change: Change) -> Stepwise[None]:
        for _ in range(2):
            try:
                self.check()
            except AssertionError as fault:
                self.faults.append(str(fault))  # an exception of a watcher is logged
            yield

    def check(self) -> None:
        """Assert that nothing is open that the newest snapshot takes away which says something of it."""
        for name in NAMES:
            service = self._services.get(name)
            if service is None:
                continue
            for snapshot in reversed(self.order):
                if not any(each is snapshot for each in self.taken):
                    continue
                if name in snapshot.services:
                    said = snapshot.services[name]
                    assert said.policy.enabled or service.refusal is not None, f"{name} is open"
                    has = service.settings.credentials.password_hash
                    assert has in (None, said.credentials.password_hash), f"{name} has a former password"
                    break
                assert not snapshot.full, f"{name} is there"
                assert name not in snapshot.removed, f"{name} is there"


@pytest.fixture(autouse=True)
def tiny_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_SECONDS", 1e-9)  # other tasks run after every step


@examples(60)
@given(st.lists(steps, min_size=1, max_size=6), st.dictionaries(st.sampled_from(NAMES), settings, max_size=3))
def test_the_last_state_is_that_of_applying_in_order_and_nothing_taken_away_is_open_meanwhile(
    steps: list[Step], before: dict[str, Settings]
) -> None:
    async def main() -> None:
        world = Governed()
        applier = world.applier
        await applier.apply(Snapshot(before))
        effects = Watched(world.services, world.registry, EdgeLog(), applier._turns, frozenset(FIELDS))
        effects.order, effects.taken, effects.faults = [], [], []
        effects.rechecks = applier.rechecks
        applier._effects = effects
        world.services.watch(effects)
        whole: list[Snapshot] = []

        async def send(step: Step, scope: trio.CancelScope) -> None:
            with scope:
                if not scope.cancel_called:
                    effects.order.append(step.snapshot)
                try:
                    await applier.apply(step.snapshot)
                except SnapshotError:
                    return
                whole.append(step.snapshot)

        async def cancel(step: Step, scope: trio.CancelScope) -> None:
            for _ in range(step.patience or 0):
                await trio.lowlevel.checkpoint()
                effects.check()
            scope.cancel()

        async with trio.open_nursery() as nursery:
            for step in steps:
                for _ in range(step.pause):
                    await trio.lowlevel.checkpoint()
                    effects.check()
                scope = trio.CancelScope()
                nursery.start_soon(send, step, scope)
                if step.patience is not None:
                    nursery.start_soon(cancel, step, scope)
        effects.check()
        expected = dict(before)
        for snapshot in effects.order:
            come = any(each is snapshot for each in whole)
            expected = applied(expected, snapshot) if come else left(expected, snapshot)
        assert world.settings() == expected
        assert not applier._turns
        assert effects.faults == []

    trio.run(main, clock=MockClock(autojump_threshold=0))
