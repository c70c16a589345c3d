"""The device table against a model: a caller that does what it is told, and every promise that can be seen outside."""

from collections import Counter, defaultdict, deque
from collections.abc import Generator
from math import inf

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.strategies import examples
from tests.support.devices import Tenants, in_grace, online, remembered
from trioedge.services.device_rules import DeviceRules, Handover, Unchecked
from trioedge.services.service import Service
from trioedge.session.allowance import Allowance
from trioedge.session.session import Session
from trioedge.stages.devices.answers import ENTERED, Admission, DeviceChange
from trioedge.stages.devices.grace import REFILL_SECONDS, Grace
from trioedge.stages.devices.memory import TICK, Move
from trioedge.stages.devices.table import DeviceTable
from trioedge.testing import make_session

GRACE = Grace(seconds=5.0, sessions=3, bytes=1_000, devices=2)
POOL = 2_000

Key = tuple[str, str]
"""The names of a service and a device."""


@attrs.define(eq=False)
class Live:
    """A live session of the model."""

    key: Key
    service: Service
    session: Session
    allowance: Allowance | None


class DeviceTableMachine(RuleBasedStateMachine):
    @initialize(
        limit=st.none() | st.integers(1, 3),
        handover=st.sampled_from(Handover),
        unchecked=st.sampled_from(Unchecked),
        capacity=st.integers(3, 8),
    )
    def begin(self, limit: int | None, handover: Handover, unchecked: Unchecked, capacity: int) -> None:
        self.device_rules = DeviceRules(limit, handover, 8.0, unchecked, 20.0)
        self.news: deque[Move] = deque()
        self.present: Counter[Key] = Counter()  # by what the table told of devices that came and went
        self.table = DeviceTable(GRACE, capacity, moves=self.news)
        self.tenants = Tenants()
        self.capacity = capacity
        self.now = 0.0
        self.live: list[Live] = []
        self.in_flight: dict[Key, bool] = {}  # whether the rules have changed since the question
        self.overruled: set[Key] = set()  # those of `in_flight` that were judged meanwhile
        self.ever_accepted: set[Key] = set()
        self.fresh_until: dict[Key, float] = {}  # of devices that have been online since they were accepted
        self.graces: dict[Allowance, float] = {}  # when each was first seen
        self.forgetting: list[Generator[Session | None, None, None]] = []
        self.ghosts: list[Live] = []  # sessions of services that were removed
        self.moved: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)

    def sessions_of(self, key: Key) -> list[Live]:
        return [each for each in self.live if each.key == key]

    def online(self, service: str) -> set[str]:
        return {each.key[1] for each in self.live if each.key[0] == service}

    def ask(self, key: Key) -> None:
        assert key not in self.in_flight, "one check a device at a time"
        self.in_flight[key] = False

    def evict(self, sessions: tuple[Session, ...]) -> None:
        """End sessions as the caller does, which then calls `leave`."""
        for session in sessions:
            (found,) = (each for each in self.live if each.session is session)
            self.live.remove(found)
            self.table.leave(found.service, found.key[1], session)
            self.offline(found.key)

    def offline(self, key: Key) -> None:
        if not self.sessions_of(key):
            self.fresh_until.pop(key, None)

    def perform(self, change: DeviceChange) -> None:
        assert not change.service.removed
        key = (change.service.name, change.device)
        if change.evict:
            assert change.evict == tuple(each.session for each in self.sessions_of(key)), "all, and no others"
            assert change.cause is not Admission.ADMITTED
        self.evict(change.evict)
        if change.check:
            self.ask(key)

    @rule(service=st.sampled_from("ab"), device=st.sampled_from("123456"))
    def enter(self, service: str, device: str) -> None:
        key = (service, device)
        session = make_session()
        entry = self.table.enter(self.tenants[service], device, session, self.now, self.device_rules)
        if self.now < self.fresh_until.get(key, -inf):
            assert entry is ENTERED, "the verdict of a device online is never displaced"
        if entry.check:
            self.ask(key)
        if entry.admission is Admission.FULL and not self.forgetting:
            assert len(self.in_flight.keys() | {each.key for each in self.live}) >= self.capacity
        if entry.admission is not Admission.ADMITTED:
            assert not entry.evict
            assert entry.allowance is None
            return
        assert all(each.key[0] == service for each in self.live if each.session in entry.evict)
        self.evict(entry.evict)
        self.live.append(Live(key, self.tenants[service], session, entry.allowance))
        if entry.allowance is not None:
            self.graces.setdefault(entry.allowance, self.now)
            assert key in self.in_flight, "the checker is asked"

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.live))
        self.live.remove(one)
        self.table.leave(one.service, one.key[1], one.session)
        self.offline(one.key)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), accept=st.booleans(), seconds=st.sampled_from([1.0, 7.0, 60.0]))
    def answer(self, data: st.DataObject, accept: bool, seconds: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_flight)))
        outdated = self.in_flight.pop(key)
        sessions = self.sessions_of(key)
        if key in self.overruled:
            self.overruled.remove(key)
            change = self.table.answer(self.tenants[key[0]], key[1], accept, seconds, self.now)
            assert change.evict == ()
            self.perform(change)
            return
        if accept:
            self.ever_accepted.add(key)
        change = self.table.answer(self.tenants[key[0]], key[1], accept, seconds, self.now)
        assert change.evict == (() if accept else tuple(each.session for each in sessions))
        assert change.check <= outdated
        self.perform(change)
        if accept:
            assert all(each.allowance is None or each.allowance.lifted for each in sessions)
            if sessions and not outdated:
                self.fresh_until[key] = self.now + seconds

    @rule(
        service=st.sampled_from("ab"), device=st.sampled_from("123456"), accept=st.booleans(),
        seconds=st.sampled_from([1.0, 7.0, 60.0]),
    )  # fmt: skip
    def judge(self, service: str, device: str, accept: bool, seconds: float) -> None:
        key = (service, device)
        sessions = self.sessions_of(key)
        if accept:
            self.ever_accepted.add(key)
        change = self.table.judge(self.tenants[service], device, accept, seconds, self.now)
        assert change.evict == (() if accept else tuple(each.session for each in sessions))
        assert not change.check
        self.perform(change)
        if key in self.in_flight:
            self.overruled.add(key)
        if accept and sessions:
            assert all(each.allowance is None or each.allowance.lifted for each in sessions)
            self.fresh_until[key] = self.now + seconds

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_flight)))
        again = self.table.failed(self.tenants[key[0]], key[1])
        self.overruled.discard(key)
        assert again or not self.sessions_of(key)
        if again:
            self.in_flight[key] = False
        else:
            del self.in_flight[key]

    @precondition(lambda self: self.live)
    @rule(data=st.data(), wanted=st.sampled_from([1, 300, 1_000]))
    def move(self, data: st.DataObject, wanted: int) -> None:
        one = data.draw(st.sampled_from(self.live))
        allowance = one.allowance
        if allowance is None or allowance.lifted or allowance.left <= 0:
            return
        number = min(wanted, allowance.left)
        allowance.left -= number
        moved = self.moved[one.key[0]]
        moved.append((self.now, number))
        for first, (since, _) in enumerate(moved):
            total = sum(each for _, each in moved[first:])
            assert total <= POOL * (1 + (self.now - since) / REFILL_SECONDS) + 1

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 4.0, 10.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.table.next_due()) <= end:
            self.now = max(self.now, due)
            self.expire()
        self.now = end
        self.expire()

    def expire(self) -> None:
        while self.table.next_due() <= self.now:
            change = self.table.expire(self.now, lambda _: self.device_rules)
            if change is not None:
                self.perform(change)

    @rule(limit=st.none() | st.integers(1, 3), handover=st.sampled_from(Handover))
    def change_the_rules(self, limit: int | None, handover: Handover) -> None:
        self.device_rules = attrs.evolve(self.device_rules, limit=limit, handover=handover)
        for service in "ab":
            for key in self.in_flight:
                self.in_flight[key] |= key[0] == service
            self.fresh_until = {key: until for key, until in self.fresh_until.items() if key[0] != service}
            foreseen = list(self.table.foresee(self.tenants[service], self.device_rules))
            evicted: list[Session] = []
            for change in filter(None, self.table.recheck(self.tenants[service], self.now, self.device_rules)):
                evicted += change.evict
                self.perform(change)
            assert evicted == foreseen

    @rule(service=st.sampled_from("ab"))
    def remove(self, service: str) -> None:
        """The name is another service for the next session, also before the removed one is forgotten to the end."""
        gone = [each for each in self.live if each.key[0] == service]
        self.live = [each for each in self.live if each.key[0] != service]
        self.ghosts += gone
        self.in_flight = {key: each for key, each in self.in_flight.items() if key[0] != service}
        self.overruled = {key for key in self.overruled if key[0] != service}
        self.fresh_until = {key: until for key, until in self.fresh_until.items() if key[0] != service}
        self.ever_accepted = {key for key in self.ever_accepted if key[0] != service}
        self.moved.pop(service, None)
        former = self.tenants.remove(service)
        assert set(self.table.foresee(former, None)) == {each.session for each in gone}
        self.forgetting.append(self.table.forget(former))
        self.go_on_forgetting()
        assert online(self.table, former) == in_grace(self.table, former) == 0

    @precondition(lambda self: self.forgetting)
    @rule()
    def go_on_forgetting(self) -> None:
        self.forgetting = [each for each in self.forgetting if next(each, self) is not self]

    @precondition(lambda self: self.ghosts)
    @rule()
    def a_ghost_leaves(self) -> None:
        """The invariants see that this changes nothing."""
        one = self.ghosts.pop()
        self.table.leave(one.service, one.key[1], one.session)

    @invariant()
    def devices_come_and_go_in_turn(self) -> None:
        """While a removed service is being forgotten, its devices have still to go."""
        while self.news:
            came, *names = self.news.popleft()
            self.present[names[0], names[1]] += 1 if came else -1
        if not self.forgetting:
            assert +self.present == Counter({each.key for each in self.live})
            assert not -self.present

    @invariant()
    def the_table_counts_what_lives(self) -> None:
        for service in "ab":
            assert online(self.table, self.tenants[service]) == len(self.online(service))
        devices = {each.key for each in self.live} | self.in_flight.keys()
        assert len(devices) <= remembered(self.table) <= self.capacity

    @invariant()
    def a_device_online_whose_verdict_expired_is_being_checked(self) -> None:
        for key, until in self.fresh_until.items():
            assert self.now < until + TICK or key in self.in_flight

    @invariant()
    def no_service_has_more_devices_than_its_rules_allow(self) -> None:
        limit, handover = self.device_rules.limit, self.device_rules.handover
        for service in "ab":
            found = online(self.table, self.tenants[service])
            assert limit is None or found <= limit * (2 if handover is Handover.HOLD else 1)
            assert in_grace(self.table, self.tenants[service]) <= GRACE.devices

    @invariant()
    def a_device_that_was_never_accepted_is_bounded(self) -> None:
        if self.device_rules.unchecked is Unchecked.FAIL_OPEN:
            return
        for one in self.live:
            if one.key not in self.ever_accepted:
                assert one.allowance is not None
                assert not one.allowance.lifted
                assert self.now < self.graces[one.allowance] + GRACE.seconds + TICK
                assert len(self.sessions_of(one.key)) <= GRACE.sessions

    def teardown(self) -> None:
        """When every session has left and the checker does not answer, nothing is left."""
        if not hasattr(self, "table"):
            return
        while self.forgetting:
            self.go_on_forgetting()
        for one in self.live:
            self.table.leave(one.service, one.key[1], one.session)
        self.live.clear()
        self.pass_time(GRACE.seconds + 2 * TICK)
        assert not any(self.table.failed(self.tenants[service], device) for service, device in self.in_flight)
        self.pass_time(200.0)
        assert remembered(self.table) == 0
        assert self.table.next_due() == inf
        assert not self.table._services


TestDeviceTable = DeviceTableMachine.TestCase
TestDeviceTable.settings = examples(40, steps=40)  # about a second: the faults to be found here need long stories
