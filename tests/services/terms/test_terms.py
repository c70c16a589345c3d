"""Which services are over: examples, and a model with a clock that is set forward and back."""

from itertools import count
from typing import Any

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.strategies import examples, keys
from tests.support.services import Tenants
from tests.support.steps import STEP_SECONDS, longest_step
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import DISABLED_SERVICE, EXPIRED, UNKNOWN_SERVICE, USED_UP, Service
from trioedge.services.services import diff
from trioedge.services.snapshot import Snapshot
from trioedge.services.terms.terms import LOOK_SECONDS, TICK_SECONDS, Terms

NOW = 1_800_000_000.0


class World(Tenants):
    """Services by a wall clock that the test sets.

    Attributes:
        wall: seconds since 1970.
        wakes: how often the worker was woken.
    """

    def __init__(self) -> None:
        self.wall, self.wakes = NOW, 0
        self.terms = Terms(lambda: self.wall)
        self.terms.wake = self._wake
        super().__init__(terms=self.terms)

    def _wake(self) -> None:
        self.wakes += 1

    def let(self, name: str = "shop", **policy: Any) -> Service:
        return self.put(name, Policy(**policy))

    def look(self) -> list[Service]:
        """Do what the worker does, and give the services whose sessions it cuts."""
        for _ in self.terms.look():
            pass
        return list(iter(self.terms.take, None))


def test_a_service_without_terms_has_none() -> None:
    world = World()
    service = world.let()
    assert (service.over, service.refusal, service.quota, service.quota_used) == (None, None, None, 0)
    assert not service.up.quiet, "its bytes cost no call"
    assert world.terms.next_look() == float("inf")


def test_the_bytes_that_use_the_quota_up_refuse_new_sessions_at_once_and_have_the_live_ones_cut() -> None:
    world = World()
    service = world.let(quota_bytes=100, quota_used=90)
    service.up.add(9)
    assert (service.refusal, world.look(), world.wakes) == (None, [], 0)
    service.down.add(1)
    assert service.refusal == USED_UP == service.up.refusal == service.down.refusal
    assert world.services.find("shop") == USED_UP
    assert world.wakes == 1
    service.down.add(1)
    assert world.wakes == 1, "one call is enough"
    assert world.look() == [service]
    assert world.look() == []
    assert service.quota_used == 101


def test_a_raised_quota_admits_again_until_that_is_used_up() -> None:
    world = World()
    service = world.let(quota_bytes=10)
    service.up.add(10)
    world.let(quota_bytes=20)
    assert (service.refusal, service.up.refusal) == (None, None)
    assert world.look() == [], "its sessions are not cut any more"
    service.up.add(10)
    assert world.services.find("shop") is USED_UP
    world.let()
    assert world.services.find("shop") is service
    assert not service.up.quiet


@pytest.mark.parametrize(
    ("policy", "over"),
    [
        ({"quota_bytes": 40}, USED_UP),
        ({"quota_bytes": 50}, USED_UP),
        ({"quota_bytes": 51}, None),
        ({"quota_bytes": 100, "quota_used": 100}, USED_UP),
        ({"expires_at": NOW}, EXPIRED),
        ({"expires_at": NOW + 1}, None),
        ({"expires_at": NOW - 1, "quota_bytes": 1}, EXPIRED),
    ],
)
def test_a_policy_is_judged_when_it_is_applied_and_foreseen_without_a_change(policy: dict[str, Any], over: Any) -> None:
    world = World()
    service = world.let(quota_bytes=1000)
    service.up.add(50)
    assert world.terms.judgement(service, Settings(Policy(**policy))) is over
    assert (service.over, service.quota_used) == (None, 50)
    world.let(**policy)
    assert service.over is service.refusal is over
    assert world.look() == [], "the snapshot cuts the sessions"


def test_a_policy_that_is_applied_again_does_not_refill_its_quota() -> None:
    world = World()
    service = world.let(quota_bytes=100, quota_used=3)
    service.up.add(50)
    world.let(quota_bytes=100, quota_used=3, session_rate=5)
    world.let(quota_used=3)
    service.up.add(40)
    world.let(quota_bytes=100, quota_used=3)
    assert service.quota_used == 93
    assert service.over is None
    service.up.add(7)
    assert service.over is USED_UP


def test_a_new_service_may_be_over_already() -> None:
    world = World()
    assert world.let("a", expires_at=NOW - 5).refusal is EXPIRED
    assert world.let("b", quota_bytes=5, quota_used=5).refusal is USED_UP


def test_a_disabled_service_is_refused_as_such_also_when_it_is_over() -> None:
    world = World()
    service = world.let(enabled=False, expires_at=NOW - 5)
    assert service.refusal is DISABLED_SERVICE
    world.let(expires_at=NOW - 5)
    assert service.refusal is EXPIRED
    world.let(enabled=False, quota_bytes=1)
    service.up.add(1)
    assert (service.over, service.refusal) == (USED_UP, DISABLED_SERVICE)


def test_a_removed_service_is_followed_no_more() -> None:
    world = World()
    service = world.let(expires_at=NOW + 5, quota_bytes=10)
    session = world.come("shop")
    world.remove("shop")
    world.wall += 10
    service.up.add(20)
    assert world.look() == []
    assert (service.refusal, service.up.quiet) == (UNKNOWN_SERVICE, False)
    world.registry.remove(session)
    assert world.let(expires_at=NOW + 20).refusal is None


def test_one_that_is_spent_and_removed_before_its_turn_is_not_cut() -> None:
    world = World()
    world.let(quota_bytes=10).up.add(10)
    world.remove("shop")
    assert world.look() == []


def test_settings_for_the_length_of_a_block_change_no_judgement() -> None:
    world = World()
    service = world.let(quota_bytes=10)
    service.up.add(10)
    with service.under(Settings(Policy()), None):
        assert service.refusal is USED_UP
    with service.under(Settings(Policy(enabled=False)), None):
        assert service.refusal is DISABLED_SERVICE
    assert service.refusal is USED_UP
    assert service.quota_used == 10


def test_services_expire_in_their_order_at_their_second_and_no_earlier() -> None:
    world = World()
    services = {after: world.let(f"s{after}", expires_at=NOW + after) for after in (3, 1, 2.5)}
    assert world.terms.next_look() == 1
    cut = []
    for second in range(5):
        world.wall = NOW + second
        cut.append([service.name for service in world.look()])
    assert cut == [[], ["s1"], [], ["s2.5", "s3"], []] or cut == [[], ["s1"], [], ["s3", "s2.5"], []]
    assert {service.over for service in services.values()} == {EXPIRED}


@pytest.mark.parametrize("after", [0.5, 100, 1e6])
def test_the_clock_is_asked_again_soon_however_far_the_next_expiry_is(after: float) -> None:
    world = World()
    world.let(expires_at=NOW + after)
    assert 0 < world.terms.next_look() <= min(after + TICK_SECONDS, LOOK_SECONDS)
    world.wall = NOW + after + TICK_SECONDS
    assert world.terms.next_look() == 0
    world.look()
    assert world.terms.next_look() == LOOK_SECONDS, "because the clock may be set back"


def test_a_clock_that_was_set_forward_by_mistake_and_back_admits_again_what_it_refused() -> None:
    world = World()
    late, early = world.let("late", expires_at=NOW + 1_000), world.let("early", expires_at=NOW - 1_000)
    world.wall = NOW + 50_000_000
    assert world.look() == [late]
    world.wall = NOW + 1
    assert world.look() == []
    assert (late.over, early.over) == (None, EXPIRED)
    world.wall = NOW + 1_000
    assert world.look() == [late]


def test_a_worker_is_woken_for_the_first_expiry_and_for_each_that_is_sooner() -> None:
    world = World()
    wakes = []
    for after in (-5, 500, 1_000, 20):
        world.let(f"s{after}", expires_at=NOW + after)
        wakes.append(world.wakes)
    assert wakes == [1, 2, 2, 3]


def test_an_expiry_that_moves_with_every_snapshot_leaves_nothing_behind() -> None:
    world = World()
    for after in range(1_000):
        world.let(expires_at=NOW + 100_000 + after)
    assert sum(map(len, world.terms._ahead._buckets.values())) == 1
    assert len(world.terms._ahead._heap) < 200
    world.remove("shop")
    assert sum(map(len, world.terms._ahead._buckets.values())) == 0
    assert world.terms.next_look() == float("inf")


def test_20000_services_that_expire_are_applied_and_looked_at_in_short_steps() -> None:
    """More than a quarter of a second, because there are that many."""
    world = World()
    snapshot = Snapshot({f"s{n}": Settings(Policy(expires_at=NOW + 1 + n % 50_000)) for n in range(20_000)})

    def applying() -> Any:
        for change in diff(world.services, snapshot):
            if change is not None:
                world.services.apply(change, None)
            yield

    assert longest_step(applying())[1] < 10 * STEP_SECONDS
    world.wall = NOW + 60_000
    steps, longest, _ = longest_step(world.terms.look())
    assert steps == 20_000
    assert longest < 10 * STEP_SECONDS


moments = st.none() | st.integers(-4, 4)


@attrs.define
class Model:
    quota_bytes: int | None
    expires_after: int | None
    used: int = 0


class Clock(RuleBasedStateMachine):
    """After every look, exactly those services are over whose quota is used up or whose expiry is not ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.models: dict[str, Model] = {}
        self.numbers = count()

    @rule(name=keys, quota=st.none() | st.integers(1, 9), after=moments)
    def a_policy_is_applied(self, name: str, quota: int | None, after: int | None) -> None:
        expires_at = None if after is None else NOW + after * 10
        service = self.world.let(name, quota_bytes=quota, expires_at=expires_at)
        model = self.models.get(name)
        used = 0 if model is None or service.quota is None else service.quota_used
        self.models[name] = Model(quota, after, used)
        self.check(name)

    @rule(name=keys, bytes_=st.integers(1, 5))
    def bytes_move(self, name: str, bytes_: int) -> None:
        if name in self.models:
            service = self.world.services.get(name)
            assert service is not None
            service.down.add(bytes_)
            if service.quota is not None:
                self.models[name].used += bytes_
                assert service.quota_used == self.models[name].used

    @rule(name=keys)
    def a_service_is_removed(self, name: str) -> None:
        if self.models.pop(name, None) is not None:
            self.world.remove(name)

    @rule(to=st.integers(-50, 50))
    def the_clock_is_set(self, to: int) -> None:
        self.world.wall = NOW + to
        self.world.look()
        for name in self.models:
            self.check(name)
        assert set(self.world.terms._ticks) == {
            self.world.services.get(name) for name, model in self.models.items() if model.expires_after is not None
        }

    def check(self, name: str) -> None:
        model, service = self.models[name], self.world.services.get(name)
        assert service is not None
        over = None
        if model.expires_after is not None and NOW + model.expires_after * 10 <= self.world.wall:
            over = EXPIRED
        elif model.quota_bytes is not None and model.used >= model.quota_bytes:
            over = USED_UP
        assert service.over is over
        assert service.refusal is over
        assert service.up.refusal is over


TestClock = Clock.TestCase
TestClock.settings = examples(50, steps=30)
