"""The table of services: removed services, look-ups, notifications, views and differences."""

import gc
import weakref

import pytest
from structlog.testing import capture_logs

from tests.support.services import Governed, Tenants
from trioedge.addresses.rules import SourceRules
from trioedge.services.credentials import Credentials
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import UNKNOWN_SERVICE, Service
from trioedge.services.services import DEFAULT_SERVICE, MAX_NAME_LENGTH, MAX_NAMED, ServicesView, diff
from trioedge.services.snapshot import Change, Snapshot
from trioedge.session.verdict import Reason, Reject
from trioedge.stages.session_gate import SessionGate
from trioedge.testing import make_context

# Removed services.


def test_a_service_removed_and_named_again_is_a_new_one_and_the_first_keeps_its_sessions() -> None:
    tenants = Tenants()
    first = tenants.put("shop")
    session = tenants.come("shop")
    tenants.remove("shop")
    assert tenants.services.get("shop") is None
    second = tenants.put("shop", Policy(max_sessions=3))
    assert second is not first
    assert second.incarnation != first.incarnation
    assert tenants.services.named("shop") == [first, second]
    session.service.up.add(5)
    assert (first.live, first.opened, first.up.bytes) == (1, 1, 5)
    assert (second.live, second.opened, second.up.bytes) == (0, 0, 0)
    tenants.registry.remove(session)
    assert tenants.services.named("shop") == [second]
    assert (first.live, second.live) == (0, 0)


def test_removed_services_of_one_name_are_given_oldest_first() -> None:
    tenants, expected = Tenants(), []
    for _ in range(3):
        expected.append(tenants.put("shop"))
        tenants.come("shop")
        tenants.remove("shop")
    assert tenants.services.named("shop") == expected
    assert tenants.services.named("cafe") == []


def test_a_session_that_moves_away_from_a_removed_service_releases_it_when_it_is_the_last() -> None:
    tenants, gone = Tenants(), list[Service]()
    tenants.services.on_gone.append(gone.append)
    shop, cafe = tenants.put("shop"), tenants.put("cafe")
    one, other = tenants.come("shop"), tenants.come("shop")
    tenants.remove("shop")
    one.service = cafe
    assert gone == []
    other.service = cafe
    assert gone == [shop]
    assert (shop.live, cafe.live) == (0, 2)


def test_bytes_of_the_unnamed_service_are_counted_for_the_edge_and_reported_by_no_hook() -> None:
    tenants, traffic = Tenants(), list[Service]()
    tenants.services.on_traffic.append(traffic.append)
    session = tenants.come()
    session.service.up.listen()
    session.service.up.add(5)
    assert tenants.up.bytes == 5
    assert traffic == []
    assert tenants.put("ghost").up.bytes == 0


# Look-ups.


def test_find_with_a_control_plane_gives_an_enabled_service_or_the_refusal() -> None:
    tenants = Tenants()
    shop, cafe = tenants.put("shop"), tenants.put("cafe", Policy(enabled=False))
    other_edge = Tenants().put("shop")
    tenants.put("bakery")
    removed = tenants.services.get("bakery")
    assert removed is not None
    tenants.come("bakery")
    tenants.remove("bakery")
    find = tenants.services.find
    assert find("shop") is shop
    assert find(shop) is shop
    assert find("cafe") == find(cafe) == Reject(Reason.SERVICE, "the service is disabled")
    unknown = Reject(Reason.SERVICE, "no such service")
    for each in ("ghost", "", "x" * 1_000, "default", "bakery", removed, other_edge):
        assert find(each) == unknown
    assert find(tenants.services.unnamed) is tenants.services.unnamed
    assert find(Tenants().services.unnamed) == unknown


def test_find_gives_a_service_again_once_it_is_enabled() -> None:
    tenants = Tenants()
    service = tenants.put("shop", Policy(enabled=False))
    assert tenants.services.get("shop") is service
    tenants.put("shop")
    assert tenants.services.find("shop") is service


@pytest.mark.parametrize("governed", [True, False])
@pytest.mark.parametrize("value", [None, 3, b"shop", ["shop"], object(), Service])
def test_find_of_neither_a_name_nor_a_service_is_a_type_error(value: object, governed: bool) -> None:
    with pytest.raises(TypeError, match=r"^session\.service = .* must be a service's name, or a Service$"):
        Tenants(governed=governed).services.find(value)


def test_find_without_a_control_plane_makes_a_service_of_every_name() -> None:
    services = Tenants(governed=False).services
    assert not services.governed
    shop, longest = services.find("shop"), services.find("x" * MAX_NAME_LENGTH)
    assert isinstance(shop, Service)
    assert isinstance(longest, Service)
    assert services.find("shop") is shop
    assert services.find(shop) is shop
    assert shop.policy == Policy()
    assert services.find(DEFAULT_SERVICE) is services.unnamed
    assert {each.name for each in services} == {"shop", "x" * MAX_NAME_LENGTH, "default"}
    other = Tenants(governed=False).services.find("shop")
    assert services.find(other) == UNKNOWN_SERVICE


@pytest.mark.parametrize("name", ["", "x" * (MAX_NAME_LENGTH + 1)])
def test_find_without_a_control_plane_refuses_a_name_that_is_empty_or_too_long(name: str) -> None:
    services = Tenants(governed=False).services
    assert services.find(name) == Reject(Reason.SERVICE, "a service's name has 1 to 255 letters")
    assert len(services) == 1


def test_find_without_a_control_plane_refuses_the_name_after_10_000_for_capacity() -> None:
    services = Tenants(governed=False).services
    for number in range(MAX_NAMED - 1):  # and the default service
        assert isinstance(services.find(f"{number}"), Service)
    assert services.find("one more") == Reject(Reason.CAPACITY, "10,000 services have been named")
    assert len(services) == MAX_NAMED == 10_000
    found = services.find("7")
    assert isinstance(found, Service)
    assert found.name == "7"


def test_without_a_control_plane_a_service_keeps_its_gate_after_its_last_session() -> None:
    tenants = Tenants(governed=False)
    gate = SessionGate(1, burst=1).open(make_context())
    first = tenants.come("shop")
    service = first.service
    assert not isinstance(gate.decide(first), Reject)
    tenants.registry.remove(first)
    assert (service.live, service.removed) == (0, False)
    second = tenants.come("shop")
    assert second.service is service
    verdict = gate.decide(second)
    assert isinstance(verdict, Reject)
    assert verdict.reason is Reason.RATE


# Notifications.


class Watcher:
    def __init__(self) -> None:
        self.notified: list[tuple[str, Settings | None, tuple[str, ...]]] = []

    def changed(self, service: Service, change: Change) -> None:
        if change.after is not None:
            assert service.settings is change.after, "the settings are swapped before"
        assert service.name == change.name
        self.notified.append((change.name, change.after, change.fields))


def test_watchers_are_notified_of_every_change_and_of_nothing_else() -> None:
    tenants, watchers = Tenants(), [Watcher(), Watcher()]
    one, two = Settings(), Settings(Policy(down_rate=1), Credentials("x"))
    tenants.apply(Snapshot({"before": one}))
    for watcher in watchers:
        tenants.services.watch(watcher)
    tenants.apply(Snapshot({"before": one, "shop": one}))
    tenants.apply(Snapshot({"before": one, "shop": two}))
    tenants.apply(Snapshot({"before": one, "shop": two}))
    tenants.apply(Snapshot({"before": one}))
    expected = [("shop", one, ()), ("shop", two, ("down_rate", "password_hash")), ("shop", None, ())]
    assert [watcher.notified for watcher in watchers] == [expected, expected]


def test_the_last_watcher_is_notified_first() -> None:
    tenants, order = Tenants(), list[int]()

    class Numbered:
        def __init__(self, number: int) -> None:
            self.number = number

        def changed(self, service: Service, change: Change) -> None:
            order.append(self.number)

    for number in range(3):
        tenants.services.watch(Numbered(number))
    tenants.put("shop")
    assert order == [2, 1, 0]


async def test_a_callback_that_raises_is_logged_and_the_next_one_is_called() -> None:
    world, notified = Governed(), list[Service]()

    class Faulty:
        def __call__(self, service: Service) -> None:
            raise RuntimeError("a mistake")

    world.services.on_traffic += [Faulty(), notified.append]
    service = world.put("shop")
    with capture_logs() as logs:
        world.come("shop")
    assert notified == [service]
    assert [(entry["service"], str(entry["exc_info"])) for entry in logs] == [("shop", "a mistake")]
    assert logs[0]["event"] == "traffic callback failed"
    assert logs[0]["callback"].endswith(".Faulty")


def test_without_a_log_the_exception_of_a_watcher_is_raised() -> None:
    tenants = Tenants()

    class Faulty:
        def changed(self, service: Service, change: Change) -> None:
            raise RuntimeError("a mistake")

    tenants.services.watch(Faulty())
    with pytest.raises(RuntimeError, match="a mistake"):
        tenants.put("shop")


def test_traffic_is_reported_when_sessions_change_and_once_when_bytes_move() -> None:
    tenants, notified = Tenants(), list[tuple[str, int]]()
    tenants.services.on_traffic.append(lambda service: notified.append((service.name, service.live)))
    service = tenants.put("shop")
    assert notified == []
    session, unnamed = tenants.come("shop"), tenants.come()
    service.down.add(1)
    assert notified == [("shop", 1)], "nothing has listened to its meters yet"
    for meter in (service.up, service.down):
        meter.listen()
    for meter in (service.up, service.down, service.down):
        meter.add(1)
    assert notified == [("shop", 1)] * 3, "once for each meter"
    tenants.remove("shop")
    tenants.registry.remove(session)
    tenants.registry.remove(unnamed)
    assert notified[3:] == [("shop", 0)]


@pytest.mark.parametrize("way", ["without sessions", "with a session"])
def test_a_removed_service_is_freed_without_the_garbage_collector(way: str) -> None:
    tenants = Tenants()
    gone = weakref.ref(tenants.put("shop"))
    gc.disable()
    try:
        session = tenants.come("shop") if way == "with a session" else None
        tenants.remove("shop")
        if session is not None:
            assert gone() is not None
            tenants.registry.remove(session)
            del session
        assert gone() is None
    finally:
        gc.enable()


# Views.


def test_a_view_of_services_is_a_mapping_that_shows_the_services_of_the_moment() -> None:
    tenants = Tenants()
    view = ServicesView(tenants.services)
    assert (len(view), list(view), "shop" in view, view.get("shop")) == (0, [], False, None)
    shop = tenants.put("shop")
    assert (len(view), list(view), "shop" in view) == (1, ["shop"], True)
    assert view["shop"] is shop
    assert dict(view) == {"shop": shop}
    with pytest.raises(KeyError, match="cafe"):
        view["cafe"]


def test_a_view_of_services_may_be_iterated_while_services_are_removed() -> None:
    tenants = Tenants()
    for name in "abc":
        tenants.put(name)
    seen = []
    for name in ServicesView(tenants.services):
        seen.append(name)
        tenants.remove(name)
    assert seen == ["a", "b", "c"]


def test_a_view_of_services_is_read_only() -> None:
    tenants = Tenants()
    shop, view = tenants.put("shop"), ServicesView(tenants.services)
    with pytest.raises(TypeError):
        view["cafe"] = shop  # type: ignore[index]
    with pytest.raises(TypeError):
        del view["shop"]  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        view.more = 1  # type: ignore[attr-defined]
    assert {name for name in dir(view) if not name.startswith("_")} == {"get", "items", "keys", "values"}


# Differences.


def test_a_service_that_does_not_change_gives_a_place_to_stop_and_no_change() -> None:
    tenants = Tenants()
    tenants.apply(Snapshot({name: Settings() for name in "abc"}))
    snapshot = Snapshot({"a": Settings(), "b": Settings(Policy(enabled=False)), "d": Settings()})
    assert list(diff(tenants.services, snapshot)) == [
        None,
        Change("b", Settings(), Settings(Policy(enabled=False)), ("enabled",)),
        Change("d", None, Settings()),
        None,
        None,
        Change("c", Settings(), None),
    ]


def test_a_snapshot_that_is_not_full_removes_only_the_services_that_it_names() -> None:
    tenants = Tenants()
    tenants.apply(Snapshot({name: Settings() for name in "abc"}))
    found = list(diff(tenants.services, Snapshot({}, frozenset({"b", "ghost"}), full=False)))
    assert [change for change in found if change] == [Change("b", Settings(), None)]
    assert len(found) == 2


def test_a_long_list_gives_places_to_stop() -> None:
    tenants = Tenants()
    one, equal = (Policy(accept=tuple(map(str, range(5000)))) for _ in range(2))
    tenants.put("a", one)
    found = list(diff(tenants.services, Snapshot({"a": Settings(equal)})))
    assert len(found) > 9
    assert set(found) == {None}


def test_rules_are_swapped_with_their_policy() -> None:
    tenants, rules = Tenants(), SourceRules(["192.0.2.1"])
    service = tenants.services.apply(Change("shop", None, Settings()), rules)
    assert service.rules is rules
    tenants.services.apply(Change("shop", Settings(), Settings(), ("accept",)), None)
    assert service.rules is None


def test_under_a_control_plane_a_service_has_1000_sessions_unless_its_policy_says_otherwise() -> None:
    tenants = Tenants()
    for name, policy, many in (
        ("silent", Policy(), 1_000),
        ("few", Policy(max_sessions=2), 2),
        ("many", Policy(max_sessions=1_500), 1_500),
        ("all", Policy(max_sessions="unlimited"), 3_000),
    ):
        tenants.put(name, policy)
        for _ in range(many):
            tenants.come(name)
        late = tenants.session(name)
        full = Reject(Reason.CONCURRENCY, "as many sessions as its service may have are live")
        assert late.refusal == (None if name == "all" else full)


def test_without_a_control_plane_the_edge_alone_bounds_the_sessions_of_a_service() -> None:
    tenants = Tenants(governed=False)
    for _ in range(1_200):
        tenants.come("shop")
    assert tenants.session("shop").refusal is None


def test_a_session_that_names_its_full_service_again_or_another_one_is_not_refused() -> None:
    tenants = Tenants()
    tenants.put("shop", Policy(max_sessions=1))
    tenants.put("blog")
    session = tenants.come("shop")
    session.service = "shop"
    assert session.refusal is None
    other = tenants.session("shop")
    assert other.refusal is not None
    other.service = "blog"
    assert other.refusal is None
    tenants.registry.remove(session)
    assert tenants.session("shop").refusal is None
