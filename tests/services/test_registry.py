import gc
import weakref
from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import examples, keys, make_session
from trioedge.services.registry import Registry
from trioedge.services.services import Services
from trioedge.session.meter import Total
from trioedge.session.session import Session

sources = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "unix"])
devices = st.sampled_from(["phone", "tv"])


def services() -> Services:
    """Any name will do."""
    return Services(Total(), Total(), governed=False)


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(services())
        self.ids = count(1)
        self.live: list[Session] = []
        self.gone: list[Session] = []

    @rule(service=keys, source=sources)
    def add(self, service: str, source: str) -> None:
        session = make_session(id=next(self.ids), service=service, source=source)
        self.registry.add(session)
        self.live.append(session)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.live))
        self.registry.remove(session)
        self.live.remove(session)
        self.gone.append(session)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), service=keys)
    def name_the_service(self, data: st.DataObject, service: str) -> None:
        session = data.draw(st.sampled_from(self.live))
        session.service = service
        assert session.service == service

    @precondition(lambda self: self.gone)
    @rule(data=st.data(), service=keys)
    def name_the_service_of_one_that_is_gone(self, data: st.DataObject, service: str) -> None:
        data.draw(st.sampled_from(self.gone)).service = service

    @precondition(lambda self: self.live)
    @rule(data=st.data(), device=st.none() | devices)
    def name_the_device(self, data: st.DataObject, device: str | None) -> None:
        session = data.draw(st.sampled_from(self.live))
        session.device = device
        assert session.device == device

    @rule(
        service=st.none() | keys,
        source=st.none() | sources,
        device=st.none() | devices,
        session=st.none() | st.integers(0, 20),
    )
    def match(self, service: str | None, source: str | None, device: str | None, session: int | None) -> None:
        expected = [
            each
            for each in self.live
            if service in (None, each.service)
            and source in (None, each.source)
            and device in (None, each.device)
            and session in (None, each.id)
        ]
        if (service, source, device, session) == (None, None, None, None):
            expected = []  # to name nothing is not to mean everybody
        if device is not None and service is None:
            with pytest.raises(TypeError, match="name the service too"):
                self.registry.matching(source=source, device=device, session=session)
        else:
            found = self.registry.matching(service=service, source=source, device=device, session=session)
            assert found == expected

    @rule(service=keys)
    def walk(self, service: str) -> None:
        expected = {each for each in self.live if each.service == service}
        found = list(self.registry.each(service))
        assert len(found) == len(expected)
        assert set(found) == expected
        assert self.registry.sources(service) == len({each.source for each in expected})

    @invariant()
    def the_live_are_held_and_nobody_else(self) -> None:
        assert len(self.registry) == len(self.live)
        assert set(self.registry) == set(self.live)
        assert all(each in self.registry and self.registry[each.id] is each for each in self.live)
        assert not any(each in self.registry or self.registry.get(each.id) for each in self.gone)


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = examples(60, steps=40)


def fill(number: int, **changes: str) -> tuple[Registry, list[Session]]:
    registry = Registry(services())
    sessions = [make_session(id=each, **changes) for each in range(1, number + 1)]
    for session in sessions:
        registry.add(session)
    return registry, sessions


@pytest.mark.parametrize("wanted", [{"service": "default"}, {"source": "192.0.2.1"}])
def test_the_oldest_goes_first(wanted: dict[str, str]) -> None:
    registry, sessions = fill(50)
    assert registry.matching(service=wanted.get("service"), source=wanted.get("source")) == sessions


def test_iteration_is_oldest_first_even_when_services_were_named_late() -> None:
    registry, sessions = fill(3)
    sessions[0].service = "tenant"
    assert list(registry) == sessions


def test_sessions_may_be_removed_while_they_are_iterated() -> None:
    registry, sessions = fill(3)
    for session in registry:
        registry.remove(session)
    assert list(registry) == []
    assert [session.index for session in sessions] == [None] * 3


def test_who_goes_or_moves_while_a_service_is_walked_through_is_left_out() -> None:
    registry, sessions = fill(4)
    walk = registry.each("default")
    seen = [next(walk)]
    gone, moved, last = (session for session in sessions if session not in seen)
    registry.remove(gone)
    moved.service = "other"
    registry.add(make_session(id=5, source="192.0.2.5"))
    assert [*seen, *walk] == [*seen, last]


def test_services_are_told_who_enters_and_who_leaves_and_nothing_of_a_name_that_stays() -> None:
    told = services()
    registry, session = Registry(told), make_session(service="a")
    told.on_traffic.append(lambda service: log.append((service.name, service.live, service.opened)))
    log: list[tuple[str, int, int]] = []
    registry.add(session)
    session.service = "a"
    session.device = "phone"
    session.service = "b"
    registry.remove(session)
    session.service = "c"
    assert log == [("a", 1, 1), ("a", 0, 1), ("b", 1, 1), ("b", 0, 1)]


def test_whoever_is_not_registered_is_not_found() -> None:
    registry, _ = fill(1)
    assert registry.get(2) is None
    with pytest.raises(KeyError):
        registry[2]
    with pytest.raises(KeyError):
        registry.remove(make_session(id=2))
    assert len(registry) == 1


class Name(str):
    """Text that can be watched: it is gone when nothing holds it."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("way_out", ["removed", "moved"])
def test_a_service_and_a_source_without_sessions_are_forgotten(way_out: str) -> None:
    registry = Registry(services())
    service, source, device = Name("tenant"), Name("192.0.2.9"), Name("phone")
    session = make_session(service=service)
    session.source = source
    session.device = device
    watched = [weakref.ref(service)]
    registry.add(session)
    if way_out == "removed":
        watched += weakref.ref(source), weakref.ref(device)
        registry.remove(session)
        del session
    else:
        session.service = "other"
    del service, source, device
    gc.collect()
    assert [reference() for reference in watched] == [None] * len(watched)
