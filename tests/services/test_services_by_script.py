"""The states of services over any sequence of snapshots and sessions."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import examples, keys
from tests.support.services import Tenants
from trioedge.services.credentials import Credentials
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import DISABLED_SERVICE, UNKNOWN_SERVICE, Service
from trioedge.services.snapshot import Snapshot
from trioedge.session.session import TOO_MANY_SESSIONS, Session

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


def settings_of(tenants: Tenants) -> dict[str, Settings]:
    return {service.name: service.settings for service in tenants.services}


# Any sequence of snapshots.


@examples(50)
@given(st.lists(snapshots, max_size=5))
def test_after_any_sequence_of_snapshots_each_service_has_its_latest_settings(said: Sequence[Snapshot]) -> None:
    tenants, model = Tenants(), dict[str, Settings]()
    for snapshot in said:
        kept = {} if snapshot.full else {name: model[name] for name in model.keys() - snapshot.removed}
        model = {**kept, **snapshot.services}
        tenants.apply(snapshot)
        assert settings_of(tenants) == model
        assert tenants.changes(Snapshot(model)) == []
        assert len(tenants.services) == len(model)
        assert all((name in tenants.services) is (name in model) for name in "abc")


@examples(50)
@given(st.lists(snapshots, max_size=4), some_services)
def test_after_a_full_snapshot_nothing_of_the_earlier_ones_is_left(
    before: Sequence[Snapshot], last: dict[str, Settings]
) -> None:
    tenants, fresh = Tenants(), Tenants()
    for snapshot in [*before, Snapshot(last)]:
        tenants.apply(snapshot)
    fresh.apply(Snapshot(last))
    assert settings_of(tenants) == settings_of(fresh) == last
    for service in tenants.services:
        other = fresh.services.get(service.name)
        assert other is not None
        assert service.policy == other.policy
        assert service.refusal == other.refusal
        assert (service.session_rate is None) == (other.session_rate is None)


# A service and its sessions.


class ServicesMachine(RuleBasedStateMachine):
    """Sessions come, move and end while services are added, disabled and removed. Every count is exact at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.tenants = Tenants()
        self.services = self.tenants.services
        self.live: list[Session] = []
        self.made: dict[int, Service] = {0: self.services.unnamed}
        """Every service there has been, by its incarnation."""
        self.named: dict[str, Service] = {}
        self.of: dict[Session, Service] = {}
        self.opened: Counter[int] = Counter()
        self.bytes: Counter[int] = Counter()
        self.gone: list[Service] = []
        self.services.on_gone.append(self.gone.append)

    def sessions_of(self, service: Service) -> list[Session]:
        return [session for session in self.live if self.of[session] is service]

    @rule(snapshot=snapshots)
    def apply(self, snapshot: Snapshot) -> None:
        before = dict(self.named)
        self.tenants.apply(snapshot)
        self.named = {service.name: service for service in self.services}
        for name, service in self.named.items():
            if name in before:
                assert service is before[name]
            else:
                assert service.incarnation not in self.made
                self.made[service.incarnation] = service

    def name_it(self, session: Session, name: str) -> None:
        """Name the service of a session; a refusal changes nothing else."""
        service = self.named.get(name)
        full = service is not None and service.live >= service.max_sessions
        session.service = name
        if service is None:
            assert session.refusal == UNKNOWN_SERVICE
        elif not service.policy.enabled:
            assert session.refusal == DISABLED_SERVICE
        elif full and self.of[session] is not service:
            assert session.refusal == TOO_MANY_SESSIONS
        else:
            assert session.refusal is None
            if self.of[session] is not service:
                self.of[session] = service
                self.opened[service.incarnation] += session in self.live
        assert session.service is self.of[session]

    @rule(name=st.none() | keys)
    def come(self, name: str | None) -> None:
        session = self.tenants.session()
        self.of[session] = self.services.unnamed
        if name is not None:
            self.name_it(session, name)
        if session.refusal is None:
            self.tenants.registry.add(session)
            self.live.append(session)
            self.opened[self.of[session].incarnation] += 1

    @precondition(lambda self: self.live)
    @rule(data=st.data(), name=keys)
    def move(self, data: st.DataObject, name: str) -> None:
        self.name_it(data.draw(st.sampled_from(self.live)), name)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.live))
        self.live.remove(session)
        self.tenants.registry.remove(session)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), number=st.integers(1, 100))
    def send(self, data: st.DataObject, number: int) -> None:
        service = data.draw(st.sampled_from(self.live)).service
        service.up.add(number)
        self.bytes[service.incarnation] += number

    @invariant()
    def every_count_is_exact(self) -> None:
        for incarnation, service in self.made.items():
            sessions = self.sessions_of(service)
            assert (service.live, service.opened) == (len(sessions), self.opened[incarnation])
            assert {each for some in service.by_source.values() for each in some} == set(sessions)
            assert service.up.bytes == self.bytes[incarnation]
        assert self.tenants.up.bytes == sum(self.bytes.values())

    @invariant()
    def each_service_is_in_one_state(self) -> None:
        for incarnation, service in self.made.items():
            if not incarnation:
                continue
            named = self.named.get(service.name) is service
            assert service.removed is not named
            assert self.gone.count(service) == (service.removed and not service.live)
            if named:
                assert service.refusal == (None if service.policy.enabled else DISABLED_SERVICE)
            else:
                assert service.refusal == UNKNOWN_SERVICE
            assert self.services.find(service) == (service.refusal or service)

    @invariant()
    def a_name_gives_its_service_and_removed_ones_with_sessions(self) -> None:
        for name in "abc":
            service = self.named.get(name)
            assert self.services.get(name) is service
            assert self.services.find(name) == (UNKNOWN_SERVICE if service is None else service.refusal or service)
            removed = [each for each in self.made.values() if each.name == name and each.removed and each.live]
            given = self.services.named(name)
            assert set(given) == {*removed, *([] if service is None else [service])}
            assert len(given) == len(set(given))

    def teardown(self) -> None:
        """Without sessions and services nothing is remembered."""
        for session in self.live:
            self.tenants.registry.remove(session)
        self.tenants.apply(Snapshot({}))
        assert not self.services._leaving
        assert len(self.services) == 0
        assert set(self.gone) == set(self.made.values()) - {self.services.unnamed}


TestServices = ServicesMachine.TestCase
TestServices.settings = examples(60, steps=30)
