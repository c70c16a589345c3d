import gc
import weakref
from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import examples, keys, make_session
from trioedge.core.registry import Registry
from trioedge.core.session import Session

sources = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "unix"])


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
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

    @rule(
        service=st.none() | keys,
        source=st.none() | sources,
        session=st.none() | st.integers(0, 20),
    )
    def match(self, service: str | None, source: str | None, session: int | None) -> None:
        expected = [
            each
            for each in self.live
            if service in (None, each.service) and source in (None, each.source) and session in (None, each.id)
        ]
        if (service, source, session) == (None, None, None):
            expected = []  # to name nothing is not to mean everybody
        assert self.registry.matching(service=service, source=source, session=session) == expected

    @invariant()
    def the_live_are_held_and_nobody_else(self) -> None:
        assert len(self.registry) == len(self.live)
        assert set(self.registry) == set(self.live)
        assert all(each in self.registry and self.registry[each.id] is each for each in self.live)
        assert not any(each in self.registry for each in self.gone)


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = examples(60, steps=40)


def fill(number: int, **changes: str) -> tuple[Registry, list[Session]]:
    registry = Registry()
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


def test_whoever_is_not_registered_is_not_found() -> None:
    registry, _ = fill(1)
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
    registry = Registry()
    service, source = Name("tenant"), Name("192.0.2.9")
    session = make_session(service=service)
    session.source = source
    watched = [weakref.ref(service)]
    registry.add(session)
    if way_out == "removed":
        watched.append(weakref.ref(source))
        registry.remove(session)
        del session
    else:
        session.service = "other"
    del service, source
    gc.collect()
    assert [reference() for reference in watched] == [None] * len(watched)
