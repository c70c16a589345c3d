"""Live sessions by service, source and device, over any sequence of changes."""

import sys
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from structlog.testing import capture_logs

from tests.strategies import examples, keys
from tests.support.services import Governed, Tenants
from trioedge.services.registry import KEYS_PER_STEP, Registry, SessionsView, devices_of, ids_of, sources_of
from trioedge.services.service import Service
from trioedge.session.session import Session

sources = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "unix"])
prefixes = st.sampled_from(
    ["192.0.2.0/31", "192.0.0.0/8", "0.0.0.0/0", "2001:db8::/64", "2001:db8::/126", "2001:db8::/32", "::/0"]
)


def contains(source: str, address: str) -> bool:
    """Tell whether an address is of a source entry, by another implementation than the registry's."""
    if "unix" in (source, address):
        return source == address
    return ip_address(address) in ip_network(source)


devices = st.sampled_from(["phone", "tv"])


class RegistryMachine(RuleBasedStateMachine):
    """Sessions come, end, and change their service, source and device, while services are removed and named again."""

    def __init__(self) -> None:
        super().__init__()
        self.tenants = Tenants()
        self.registry = self.tenants.registry
        for name in "abc":
            self.tenants.put(name)
        self.live: list[Session] = []
        self.gone: list[Session] = []

    @rule(service=st.none() | keys, source=sources, device=st.none() | devices)
    def add(self, service: str | None, source: str, device: str | None) -> None:
        session = self.tenants.session(service, source)
        session.device = device
        self.registry.add(session)
        self.live.append(session)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.live))
        self.registry.remove(session)
        self.live.remove(session)
        self.gone.append(session)

    @rule(name=keys)
    def remove_a_service_and_name_it_again(self, name: str) -> None:
        """Live sessions stay with the former incarnation."""
        self.tenants.remove(name)
        self.tenants.put(name)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), service=keys)
    def name_the_service(self, data: st.DataObject, service: str) -> None:
        session = data.draw(st.sampled_from(self.live))
        session.service = service
        assert session.service is self.tenants.services.get(service)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), source=sources)
    def set_the_source(self, data: st.DataObject, source: str) -> None:
        session = data.draw(st.sampled_from(self.live))
        peer = session.peer
        session.set_source(source, 7)
        assert (session.source, session.source_port, session.peer) == (source, 7, peer)

    @precondition(lambda self: self.gone)
    @rule(data=st.data(), service=keys, source=sources, device=devices)
    def change_a_session_that_has_ended(self, data: st.DataObject, service: str, source: str, device: str) -> None:
        session = data.draw(st.sampled_from(self.gone))
        session.service = service
        session.set_source(source)
        session.device = device

    @precondition(lambda self: self.live)
    @rule(data=st.data(), device=st.none() | devices)
    def name_the_device(self, data: st.DataObject, device: str | None) -> None:
        session = data.draw(st.sampled_from(self.live))
        session.device = device
        assert session.device == device

    @precondition(lambda self: self.live)
    @rule(data=st.data(), name=keys)
    def remove_a_session_that_was_changed_behind_the_registry(self, data: st.DataObject, name: str) -> None:
        session = data.draw(st.sampled_from(self.live))
        other = self.tenants.services.get(name)
        assert other is not None
        session.enter(other)
        session.come_from("198.51.100.9", b"\xc6\x33\x64\x09", 1)
        session.use("other")
        self.registry.remove(session)
        self.live.remove(session)
        self.gone.append(session)

    @rule(
        service=st.none() | keys,
        source=st.none() | sources | prefixes,
        device=st.none() | devices,
        session=st.none() | st.integers(0, 20),
    )
    def match(self, service: str | None, source: str | None, device: str | None, session: int | None) -> None:
        expected = [
            each
            for each in self.live
            if service in (None, each.service.name)
            and (source is None or contains(source, each.source))
            and device in (None, each.device)
            and session in (None, each.id)
        ]
        if (service, source, device, session) == (None, None, None, None):
            expected = []  # without any condition, no session matches
        if device is not None and service is None:
            with pytest.raises(TypeError, match="name the service too"):
                self.registry.matching(source=source, device=device, session=session)
        else:
            found = self.registry.matching(service=service, source=source, device=device, session=session)
            assert found == expected

    @invariant()
    def each_service_has_its_sessions(self) -> None:
        services = {session.service for session in self.live} | set(self.tenants.services)
        for service in services:
            expected = {each for each in self.live if each.service is service}
            found = list(self.registry.each(service))
            assert len(found) == len(expected) == service.live
            assert set(found) == expected
            assert service.by_source.keys() == {each.source_key for each in expected}

    @invariant()
    def live_sessions_are_there_and_no_others(self) -> None:
        assert len(self.registry) == len(self.live)
        assert list(self.registry) == self.live
        assert all(each in self.registry and self.registry[each.id] is each for each in self.live)
        assert not any(each in self.registry or self.registry.get(each.id) for each in self.gone)

    def teardown(self) -> None:
        """Without sessions nothing is remembered."""
        services = {session.service for session in self.live}
        for session in self.live:
            self.registry.remove(session)
        assert not self.registry._by_source
        assert not self.registry._by_device
        assert not self.registry._keys
        assert not any(service.by_source for service in services)


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = examples(60, steps=40)


def fill(number: int) -> tuple[Tenants, list[Session]]:
    """Register sessions of the default service, which is there without a control plane."""
    tenants = Tenants(governed=False)
    return tenants, [tenants.come() for _ in range(number)]


@pytest.mark.parametrize("wanted", [{"service": "default"}, {"source": "192.0.2.1"}])
def test_the_sessions_that_match_are_given_oldest_first(wanted: dict[str, str]) -> None:
    tenants, sessions = fill(50)
    found = tenants.registry.matching(service=wanted.get("service"), source=wanted.get("source"))
    assert found == sessions


def test_the_sessions_of_a_removed_service_are_found_by_its_name_beside_those_of_the_new_one() -> None:
    tenants = Tenants()
    tenants.put("shop")
    old = [tenants.come("shop", source) for source in ("192.0.2.1", "192.0.2.2")]
    old[0].device = "phone"
    tenants.remove("shop")
    matching = tenants.registry.matching
    assert matching(service="shop") == old
    tenants.put("shop")
    new = tenants.come("shop")
    new.device = "phone"
    assert matching(service="shop") == [*old, new]
    assert matching(service="shop", source="192.0.2.1") == [old[0], new]
    assert matching(service="shop", device="phone") == [old[0], new]
    assert matching(service="shop", session=old[1].id) == [old[1]]
    for session in old:
        tenants.registry.remove(session)
    assert matching(service="shop") == [new]


@pytest.mark.parametrize("service", [None, "shop", "other"])
@pytest.mark.parametrize("source", [None, "192.0.2.7", "192.0.2.0/29", "192.0.2.8", "2001:db8::/32"])
@pytest.mark.parametrize("device", [None, "phone", "tv"])
@pytest.mark.parametrize("by_id", [False, True])
def test_a_session_is_found_if_all_that_is_named_is_its_own(
    service: str | None, source: str | None, device: str | None, by_id: bool
) -> None:
    if (service, source, by_id) == (None, None, False) or (device is not None and service is None):
        return  # nothing is named, or a device without its service
    tenants = Tenants(governed=False)
    session = tenants.come("shop", "192.0.2.7")
    session.device = "phone"
    tenants.come("other", "192.0.2.9").device = "tv"
    found = tenants.registry.matching(
        service=service, source=source, device=device, session=session.id if by_id else None
    )
    own = service != "other" and source in (None, "192.0.2.7", "192.0.2.0/29") and device != "tv"
    assert (session in found) is own
    assert len(found) <= 1 or not by_id


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("10.0.0.0/30", ["10.0.0.0", "10.0.0.3"]),
        ("10.0.0.0/8", ["10.0.0.0", "10.0.0.3", "10.255.255.255"]),
        ("0.0.0.0/0", ["10.0.0.0", "10.0.0.3", "10.255.255.255"]),
        ("::/0", ["a00::", "a00::3", "a00:0:0:ffff::"]),
        ("a00::/64", ["a00::", "a00::3"]),
        ("a00::/48", ["a00::", "a00::3", "a00:0:0:ffff::"]),
        ("a00::/127", ["a00::"]),
    ],
)
@pytest.mark.parametrize("service", [None, "default"])
def test_a_prefix_has_the_addresses_of_its_own_kind_from_its_first_to_its_last_one(
    prefix: str, found: list[str], service: str | None
) -> None:
    tenants = Tenants(governed=False)
    for source in ("10.0.0.0", "10.0.0.3", "10.255.255.255", "a00::", "a00::3", "a00:0:0:ffff::", "unix"):
        tenants.come(source=source)
    assert [each.source for each in tenants.registry.matching(source=prefix, service=service)] == found


def test_iteration_is_oldest_first_even_when_services_are_named_late() -> None:
    tenants, sessions = fill(3)
    sessions[0].service = "tenant"
    assert list(tenants.registry) == sessions


def test_sessions_may_be_removed_while_they_are_iterated() -> None:
    tenants, sessions = fill(3)
    for session in tenants.registry:
        tenants.registry.remove(session)
    assert list(tenants.registry) == []
    assert [session.index for session in sessions] == [None] * 3


def test_sessions_that_end_or_move_while_their_service_is_iterated_are_left_out() -> None:
    tenants, sessions = fill(4)
    walk = tenants.registry.each(tenants.services.unnamed)
    seen = [next(walk)]
    ended, moved, last = (session for session in sessions if session not in seen)
    tenants.registry.remove(ended)
    moved.service = "other"
    tenants.come(source="192.0.2.5")
    assert [*seen, *walk] == [*seen, last]


def test_a_session_whose_device_is_named_while_its_service_is_iterated_is_given_once() -> None:
    tenants, sessions = fill(4)
    seen = []
    for session in tenants.registry.each(tenants.services.unnamed):
        seen.append(session)
        for each in sessions:
            each.device = f"device {len(seen)}"
    assert sorted(seen, key=lambda each: each.id) == sessions


def test_traffic_is_reported_for_sessions_that_come_move_and_end_and_not_for_a_name_that_stays() -> None:
    tenants, log = Tenants(governed=False), list[tuple[str, int, int]]()
    session = tenants.session("a")
    tenants.services.on_traffic.append(lambda service: log.append((service.name, service.live, service.opened)))
    tenants.registry.add(session)
    session.service = "a"
    session.device = "phone"
    session.set_source("192.0.2.9")
    session.service = "b"
    tenants.registry.remove(session)
    session.service = "c"
    assert log == [("a", 1, 1), ("a", 0, 1), ("b", 1, 1), ("b", 0, 1)]


def test_a_session_that_is_not_registered_is_not_found() -> None:
    tenants, (registered,) = fill(1)
    registry, other = tenants.registry, tenants.session()
    assert registry.get(other.id) is None
    with pytest.raises(KeyError):
        registry[other.id]
    with pytest.raises(KeyError):
        registry.remove(other)
    assert len(registry) == 1
    assert registered in registry


def test_a_session_of_another_edge_with_the_same_id_is_not_in_the_registry() -> None:
    one, other = fill(1), fill(1)
    assert one[1][0].id == other[1][0].id
    assert other[1][0] not in one[0].registry


@pytest.mark.parametrize("way_out", ["removed", "moved"])
def test_a_service_without_sessions_remembers_no_source_and_no_device(way_out: str) -> None:
    tenants = Tenants(governed=False)
    session = tenants.come("tenant", "192.0.2.9")
    service = session.service
    session.device = "phone"
    if way_out == "removed":
        tenants.registry.remove(session)
        assert (tenants.registry._by_source, tenants.registry._by_device) == ({}, {})
    else:
        session.service = "other"
        assert list(tenants.registry._by_device) == [(session.service.incarnation, "phone")]
    assert (service.live, service.by_source) == (0, {})


def test_a_session_that_is_removed_is_referred_to_no_more() -> None:
    tenants = Tenants(governed=False)
    session = tenants.session("tenant")
    before = sys.getrefcount(session)
    tenants.registry.add(session)
    session.device = "phone"
    session.set_source("192.0.2.9")
    assert sys.getrefcount(session) > before
    tenants.registry.remove(session)
    assert sys.getrefcount(session) == before


# Views.


def shown(view: SessionsView, service: Service) -> list[object]:
    return [
        len(view),
        list(view),
        sorted(view.of(service), key=lambda each: each.id),
        view.matching(service=service.name),
        view.matching(source="192.0.2.1"),
    ]


def test_a_view_of_sessions_shows_the_sessions_of_the_moment() -> None:
    tenants, (first,) = fill(1)
    view, service = SessionsView(tenants.registry), tenants.services.unnamed
    assert shown(view, service) == [1, [first], [first], [first], [first]]
    second = tenants.come()
    assert shown(view, service) == [2, *[[first, second]] * 4]
    assert (view[second.id], view.get(first.id)) == (second, first)
    tenants.registry.remove(first)
    assert shown(view, service) == [1, *[[second]] * 4]
    assert first not in view
    assert second in view
    assert view.get(first.id) is None
    with pytest.raises(KeyError):
        view[first.id]
    with pytest.raises(TypeError, match="name the service too"):
        view.matching(device="phone")


def test_a_view_of_sessions_finds_a_device_and_an_id() -> None:
    tenants, sessions = fill(3)
    sessions[1].device = "phone"
    view = SessionsView(tenants.registry)
    assert view.matching(service="default", device="phone") == [sessions[1]]
    assert view.matching(session=sessions[2].id) == [sessions[2]]


def test_a_view_of_sessions_is_read_only() -> None:
    tenants, (session,) = fill(1)
    view = SessionsView(tenants.registry)
    with pytest.raises(TypeError):
        view[1] = session  # type: ignore[index]
    with pytest.raises(TypeError):
        del view[1]  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        view.more = 1  # type: ignore[attr-defined]
    assert {name for name in dir(view) if not name.startswith("_")} == {"get", "matching", "of"}


async def test_a_callback_that_raises_leaves_every_session_counted_and_found() -> None:
    world, calls = Governed(), list[str]()

    def notify(service: Service) -> None:
        calls.append(service.name)
        raise RuntimeError("a mistake")

    world.services.on_traffic.append(notify)
    a, b = world.put("a"), world.put("b")
    with capture_logs() as logs:
        session = world.come("a")
        assert (a.live, b.live, list(world.registry)) == (1, 0, [session])
        session.service = "b"
        assert (a.live, b.live, session.service) == (0, 1, b)
        world.registry.remove(session)
    assert (a.live, b.live, list(world.registry), session.index) == (0, 0, [], None)
    assert calls == ["a", "a", "b", "b"]
    failed = [("traffic callback failed", "a")]
    assert [(entry["event"], entry["service"]) for entry in logs] == failed, "one line a second"
    assert logs[0]["callback"].endswith(".notify")


def test_a_view_without_an_edge_is_empty() -> None:
    view = SessionsView(Registry(Tenants().services))
    assert (len(view), list(view), view.matching(source="192.0.2.1")) == (0, [], [])


def test_a_session_is_entered_once() -> None:
    tenants, (session,) = fill(1)
    with pytest.raises(ValueError, match=f"session {session.id} is registered already"):
        tenants.registry.add(session)
    assert session.service.live == 1
    tenants.registry.remove(session)
    with pytest.raises(KeyError):
        tenants.registry.remove(session)
    assert session.service.live == 0


def test_a_search_for_a_wide_prefix_looks_at_the_sources_in_steps() -> None:
    tenants = Tenants(governed=False)
    for number in range(2 * KEYS_PER_STEP):
        tenants.come(source=f"10.0.{number >> 8}.{number & 255}")
    steps = [len(found) for found in tenants.registry.search(source="10.0.0.0/22")]
    assert steps == [KEYS_PER_STEP, 0]
    assert [len(found) for found in tenants.registry.search(source="10.0.7.255")] == [1], "a source has an index"


def test_a_registry_without_hooks_of_services_calls_none() -> None:
    tenants, (session,) = fill(1)
    seen: list[Service] = []
    tenants.services.on_traffic.append(seen.append)
    tenants.registry.remove(session)
    tenants.registry.add(session)
    assert seen == [session.service] * 2


def test_ids_sources_and_devices_are_those_of_the_live_sessions() -> None:
    tenants, sessions = fill(3)
    sessions[1].device = "phone"
    registry = tenants.registry
    assert ids_of(registry) == [each.id for each in sessions]
    assert {each for _, group in sources_of(registry) for each in group} == {*sessions}
    assert [[*group] for group in devices_of(registry)] == [[sessions[1]]]
    registry.remove(sessions[1])
    assert (ids_of(registry), devices_of(registry)) == ([sessions[0].id, sessions[2].id], [])
