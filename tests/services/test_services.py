import gc
import weakref
from collections import Counter
from collections.abc import Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import examples, keys, make_session
from trioedge.addresses.rules import SourceRules
from trioedge.services.credentials import Credentials
from trioedge.services.policy import FATES, Fate, Policy, Settings
from trioedge.services.registry import Registry
from trioedge.services.service import Service
from trioedge.services.services import Services, diff
from trioedge.services.snapshot import Change, Snapshot
from trioedge.session.meter import Total
from trioedge.session.session import Session
from trioedge.structures.gcra import RateSpec

some_settings = st.sampled_from(
    [
        Settings(),
        Settings(Policy(session_rate=5.0, session_burst=2, accept=("192.0.2.0/24",))),
        Settings(Policy(session_rate=5.0, max_sessions=2), Credentials("one")),
        Settings(Policy(enabled=False, device_limit=3), Credentials("other")),
    ]
)
some_services = st.dictionaries(keys, some_settings, max_size=3)
snapshots = st.builds(Snapshot, some_services) | st.builds(
    lambda services, removed: Snapshot(services, removed - services.keys(), full=False),
    some_services,
    st.frozensets(keys, max_size=2),
)


def make_services(*, governed: bool = True) -> Services:
    return Services(Total(), Total(), governed=governed)


def changes(services: Services, snapshot: Snapshot) -> list[Change]:
    return [change for change in diff(services, snapshot) if change is not None]


def apply(services: Services, snapshot: Snapshot) -> list[Change]:
    """Let a snapshot hold, whole."""
    found = changes(services, snapshot)
    for change in found:
        for _ in services.tell(services.apply(change, None), change):
            pass
    return found


def put(services: Services, name: str, policy: Policy = Policy()) -> Service:  # noqa: B008 - frozen
    apply(services, Snapshot({name: Settings(policy)}, full=False))
    service = services.get(name)
    assert service is not None
    return service


def remove(services: Services, name: str) -> None:
    apply(services, Snapshot({}, frozenset({name}), full=False))


def settings_of(services: Services) -> dict[str, Settings]:
    return {service.name: service.settings for service in services}


# Any sequence of snapshots.


@examples(50)
@given(st.lists(snapshots, max_size=5))
def test_after_any_sequence_of_snapshots_what_they_say_holds(said: Sequence[Snapshot]) -> None:
    services, model = make_services(), dict[str, Settings]()
    for snapshot in said:
        kept = {} if snapshot.full else {name: model[name] for name in model.keys() - snapshot.removed}
        model = {**kept, **snapshot.services}
        apply(services, snapshot)
        assert settings_of(services) == model
        assert changes(services, Snapshot(model)) == []
        assert len(services) == len(model)
        assert all((name in services) is (name in model) for name in "abc")


@examples(50)
@given(st.lists(snapshots, max_size=4), some_services)
def test_whatever_held_before_the_last_full_snapshot_is_what_holds(
    before: Sequence[Snapshot], last: dict[str, Settings]
) -> None:
    services = make_services()
    for snapshot in [*before, Snapshot(last)]:
        apply(services, snapshot)
    fresh = make_services()
    apply(fresh, Snapshot(last))
    assert settings_of(services) == settings_of(fresh) == last
    for service in services:
        other = fresh.get(service.name)
        assert other is not None
        assert service.policy == other.policy
        assert (service.cadence is None) == (other.cadence is None)


# A service and its sessions.


class ServicesMachine(RuleBasedStateMachine):
    """Sessions come, move and go while services do; every count is exact, and a service is one object for life."""

    def __init__(self) -> None:
        super().__init__()
        self.total_up = Total()
        self.services = Services(self.total_up, Total(), governed=True)
        self.registry = Registry(self.services)
        self.ids = count(1)
        self.live: list[Session] = []
        self.objects: dict[str, Service] = {}
        """Services that are named, and those that are not any more and have sessions."""
        self.lives: set[int] = set()
        self.opened: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.sent = 0

    def count_of(self, name: str) -> int:
        return sum(session.service == name for session in self.live)

    def forget(self) -> None:
        for name in list(self.objects):
            if name not in self.services and not self.count_of(name):
                del self.objects[name]
        for name in "abc":
            if name not in self.objects:
                self.opened[name], self.bytes[name] = self.count_of(name), 0

    @rule(snapshot=snapshots)
    def apply(self, snapshot: Snapshot) -> None:
        apply(self.services, snapshot)
        for service in self.services:
            if service.name not in self.objects:
                self.objects[service.name] = service
                assert service.incarnation not in self.lives
                self.lives.add(service.incarnation)
            assert self.objects[service.name] is service
        self.forget()

    @rule(name=keys)
    def come(self, name: str) -> None:
        session = make_session(id=next(self.ids), service=name)
        self.registry.add(session)
        self.live.append(session)
        self.opened[name] += 1

    @precondition(lambda self: self.live)
    @rule(data=st.data(), name=keys)
    def move(self, data: st.DataObject, name: str) -> None:
        session = data.draw(st.sampled_from(self.live))
        self.opened[name] += session.service != name
        session.service = name
        self.forget()

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.live))
        self.live.remove(session)
        self.registry.remove(session)
        self.forget()

    @precondition(lambda self: self.live)
    @rule(data=st.data(), number=st.integers(1, 100))
    def send(self, data: st.DataObject, number: int) -> None:
        name = data.draw(st.sampled_from(self.live)).service
        self.services.meters(name)[0].add(number)
        self.sent += number
        self.bytes[name] += number * (name in self.objects)

    @invariant()
    def every_count_is_exact(self) -> None:
        for name, service in self.objects.items():
            assert (service.live, service.opened) == (self.count_of(name), self.opened[name])
            assert service.up.bytes == self.bytes[name]
        assert self.total_up.bytes == self.sent

    @invariant()
    def who_is_not_named_is_not_found(self) -> None:
        assert {name: self.services.get(name) for name in "abc"} == {
            name: self.objects[name] if name in self.services else None for name in "abc"
        }

    def teardown(self) -> None:
        """Nothing is remembered of services that have gone."""
        for session in self.live:
            self.registry.remove(session)
        apply(self.services, Snapshot({}))
        assert not self.services._leaving
        assert not self.services._unnamed
        assert len(self.services) == 0


TestServices = ServicesMachine.TestCase
TestServices.settings = examples(60, steps=30)


def test_a_change_of_policy_swaps_fields_of_the_same_service() -> None:
    services = make_services()
    service = put(services, "shop", Policy(session_rate=1))
    up, down, incarnation = service.up, service.down, service.incarnation
    services.entered("shop")
    assert put(services, "shop", Policy(session_rate=2, session_burst=3, device_limit=4)) is service
    assert (service.up, service.down, service.incarnation) == (up, down, incarnation)
    assert (service.live, service.opened) == (1, 1)
    assert service.policy is service.settings.policy
    assert isinstance(service.cadence, RateSpec)
    assert service.cadence.interval == 0.5
    assert service.cadence.tolerance == pytest.approx(2.01 * 0.5)
    put(services, "shop")
    assert service.cadence is None


def test_rules_are_swapped_with_their_policy() -> None:
    services, rules = make_services(), SourceRules(["192.0.2.1"])
    service = services.apply(Change("shop", None, Settings()), rules)
    assert service.rules is rules
    services.apply(Change("shop", Settings(), Settings(), ("accept",)), None)
    assert service.rules is None


def test_a_service_that_comes_back_while_its_sessions_still_end_is_the_same() -> None:
    services = make_services()
    service = put(services, "shop")
    services.entered("shop")
    remove(services, "shop")
    assert services.get("shop") is None
    assert services.meters("shop") == (service.up, service.down), "its bytes are its own to the last one"
    assert put(services, "shop", Policy(max_sessions=3)) is service
    assert service.policy.max_sessions == 3
    services.left("shop")
    assert (service.live, service.opened) == (0, 1)
    remove(services, "shop")
    assert put(services, "shop") is not service, "and begins anew after its last session"


def test_bytes_of_a_service_that_nobody_names_are_counted_for_the_edge_alone() -> None:
    up = Total()
    services = Services(up, Total(), governed=True)
    services.entered("ghost")
    services.meters("ghost")[0].add(5)
    assert up.bytes == 5
    assert put(services, "ghost").up.bytes == 0


# Who is told.


class Watcher:
    def __init__(self) -> None:
        self.told: list[tuple[str, Settings | None, tuple[str, ...]]] = []

    def changed(self, service: Service, change: Change) -> None:
        if change.after is not None:
            assert service.settings is change.after, "its own fields are swapped already"
        assert service.name == change.name
        self.told.append((change.name, change.after, change.fields))


def test_watchers_are_told_of_every_change_and_of_nothing_else() -> None:
    services, watchers = make_services(), [Watcher(), Watcher()]
    one, two = Settings(), Settings(Policy(down_rate=1), Credentials("x"))
    apply(services, Snapshot({"before": one}))
    for watcher in watchers:
        services.watch(watcher)
    apply(services, Snapshot({"before": one, "shop": one}))
    apply(services, Snapshot({"before": one, "shop": two}))
    apply(services, Snapshot({"before": one, "shop": two}))
    apply(services, Snapshot({"before": one}))
    expected = [("shop", one, ()), ("shop", two, ("down_rate", "password_hash")), ("shop", None, ())]
    assert [watcher.told for watcher in watchers] == [expected, expected]


def test_traffic_is_told_when_sessions_change_and_once_when_bytes_move() -> None:
    services, told = make_services(), list[tuple[str, int]]()
    services.on_traffic.append(lambda service: told.append((service.name, service.live)))
    service = put(services, "shop")
    assert told == []
    services.entered("shop")
    services.entered("ghost")
    service.down.add(1)
    assert told == [("shop", 1)], "nobody has listened to its meters yet"
    for meter in (service.up, service.down):
        meter.listen()
    for meter in (service.up, service.down, service.down):
        meter.add(1)
    assert told == [("shop", 1)] * 3, "once for each meter"
    remove(services, "shop")
    services.left("shop")
    services.left("ghost")
    assert told[3:] == [("shop", 0)]


@pytest.mark.parametrize("way", ["without sessions", "with a session"])
def test_a_service_that_has_gone_is_no_work_for_the_collector(way: str) -> None:
    services = make_services()
    gone = weakref.ref(put(services, "shop"))
    gc.disable()
    try:
        if way == "with a session":
            services.entered("shop")
        remove(services, "shop")
        if way == "with a session":
            services.left("shop")
        assert gone() is None
    finally:
        gc.enable()


# Without a control plane.


def test_every_name_is_one_service_without_limits() -> None:
    services = make_services(governed=False)
    assert not services.governed
    one = services.get("a")
    assert one is not None
    assert one is services.get("b")
    assert one.policy == Policy()
    assert "a" not in services
    services.entered("a")
    services.left("a")
    assert (one.live, len(services)) == (0, 0)


def test_where_traffic_is_followed_each_name_is_a_service_while_it_has_sessions() -> None:
    services, told = make_services(governed=False), list[tuple[str, int]]()
    services.on_traffic.append(lambda service: told.append((service.name, service.live)))
    for name in ("a", "b", "a"):
        services.entered(name)
    one, other = services.get("a"), services.get("b")
    assert one is not None
    assert one is not other
    assert services.meters("a") == (one.up, one.down)
    services.left("a")
    services.left("b")
    assert told == [("a", 1), ("b", 1), ("a", 2), ("a", 1), ("b", 0)]
    assert [service.name for service in services] == ["a"]
    services.left("a")
    assert len(services) == 0


# What differs.


def test_a_service_that_stays_as_it_is_gives_a_place_to_stop_and_no_change() -> None:
    services = make_services()
    apply(services, Snapshot({name: Settings() for name in "abc"}))
    found = list(diff(services, Snapshot({"a": Settings(), "b": Settings(Policy(enabled=False)), "d": Settings()})))
    assert found == [
        None,
        Change("b", Settings(), Settings(Policy(enabled=False)), ("enabled",)),
        Change("d", None, Settings()),
        None,
        None,
        Change("c", Settings(), None),
    ]


def test_a_long_list_gives_places_to_stop() -> None:
    services = make_services()
    one, equal = (Policy(accept=tuple(map(str, range(5000)))) for _ in range(2))
    put(services, "a", one)
    found = list(diff(services, Snapshot({"a": Settings(equal)})))
    assert len(found) > 9
    assert set(found) == {None}


@pytest.mark.parametrize("field", FATES)
def test_the_fate_of_sessions_is_that_of_the_fields(field: str) -> None:
    assert Change("a", Settings(), Settings(), (field,)).fates == {FATES[field]}
    assert Change("a", Settings(), Settings(), (field, "enabled")).fates == {FATES[field], Fate.EVICT}


def test_a_service_that_goes_takes_its_sessions_along_and_one_that_comes_touches_none() -> None:
    assert Change("a", Settings(), None).fates == {Fate.EVICT}
    assert Change("a", None, Settings()).fates == frozenset()


def test_a_disabled_service_is_there_and_may_have_no_sessions() -> None:
    services = Services(Total(), Total(), governed=True)
    service = services.apply(Change("shop", None, Settings(Policy(enabled=False))), None)
    assert (services.get("shop"), services.find("shop")) == (service, None)
    assert services.refusal("shop").detail == "the service is disabled"
    assert services.refusal("cafe").detail == "no such service"
    services.apply(Change("shop", service.settings, Settings(), ("enabled",)), None)
    assert services.find("shop") is service
