"""The count of a quota: examples of each case, and a model of edges, a control plane and a network between them."""

from collections import deque

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import examples
from trioedge.services.terms.quota import QuotaCount
from trioedge.session.meter import Meter


class Counted:
    """A quota with its meters.

    Attributes:
        spent: how often it was found to be used up.
    """

    def __init__(self, said: int = 0, *, reported: bool = True, moved: int = 0) -> None:
        self.up, self.down, self.spent = Meter(), Meter(), 0
        self.up.add(moved)
        self.quota = QuotaCount(self.up, self.down, said, self._note, reported=reported)

    def _note(self) -> None:
        self.spent += 1

    def report(self) -> None:
        self.quota.note_sent()
        self.quota.note_acknowledged()


def test_bytes_of_both_directions_count_on_from_what_is_used() -> None:
    counted = Counted(100)
    counted.up.add(3)
    counted.down.add(4)
    assert counted.quota.used == 107


def test_a_service_that_gets_its_quota_while_it_runs_counts_from_then() -> None:
    counted = Counted(100, moved=5_000)
    counted.down.add(4)
    assert counted.quota.used == 104


def test_the_chunk_that_uses_the_quota_up_is_noticed_in_either_direction_and_so_is_every_later_one() -> None:
    counted = Counted(90)
    counted.quota.limit(100)
    counted.up.add(9)
    assert counted.spent == 0
    counted.down.add(1)
    assert counted.spent == 1
    counted.up.add(1)
    assert counted.spent == 2


def test_a_raised_quota_is_noticed_at_its_own_end_and_none_never() -> None:
    counted = Counted()
    counted.quota.limit(10)
    counted.quota.limit(20)
    counted.up.add(19)
    assert counted.spent == 0
    counted.quota.limit(None)
    counted.up.add(100)
    assert counted.spent == 0
    assert not counted.up.quiet, "a service without a quota pays for no call"
    assert counted.quota.used == 119, "and still it counts"


CASES = [
    # bytes, and whether a report had them: moved, acknowledged well before, acknowledged last, sent, since
    ("the same value says nothing new", 100, 100, (10, 20, 30, 40), 200),
    ("a higher one that is behind changes nothing", 100, 110, (10, 20, 30, 40), 200),
    ("one that knows bytes of other edges raises the count", 100, 500, (10, 20, 30, 40), 540),
    ("one that gives bytes back lowers it, but for two reports", 100, 101, (80, 0, 0, 0), 101),
    ("a lower one begins a period, with what no report has had", 100, 0, (10, 20, 30, 40), 40),
]


@pytest.mark.parametrize(
    ("said", "then", "bytes_", "used"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_value_corrects_the_count(said: int, then: int, bytes_: tuple[int, ...], used: int) -> None:
    safe, last, sent, since = bytes_
    counted = Counted(said)
    counted.up.add(safe)
    counted.report()
    counted.down.add(last)
    counted.report()
    counted.up.add(sent)
    counted.quota.note_sent()
    counted.down.add(since)
    assert counted.quota.used == said + sum(bytes_)
    assert counted.quota.under(then) == used
    assert counted.quota.used == said + sum(bytes_), "to ask changes nothing"
    counted.quota.learn(then)
    assert (counted.quota.used, counted.quota.said) == (used, then)
    counted.quota.learn(then)
    assert counted.quota.used == used


def test_without_reports_a_value_is_the_count_from_the_moment_on_at_which_it_is_applied() -> None:
    counted = Counted(100, reported=False)
    counted.up.add(50)
    counted.quota.learn(100)
    assert counted.quota.used == 150, "it is the same one"
    counted.quota.learn(120)
    assert counted.quota.used == 120
    counted.up.add(1)
    counted.quota.learn(0)
    assert counted.quota.used == 0


@attrs.define
class Snapshot:
    """A value on its way to an edge.

    Attributes:
        value: the `quota_used`.
        overtaken: acknowledgements of that edge that came meanwhile.
    """

    value: int
    overtaken: int = 0


class EdgeModel(Counted):
    """One edge, and the network between it and the control plane.

    Attributes:
        sent: the total in the last report that was sent.
        report_total: the total in the report that is under way; None for none.
        arrived: the control plane has that report.
        snapshots: values on their way, the oldest first.
        floor: beside its own bytes it must count so many: the last value that was applied, without those of its own
            that a report had had.
    """

    def __init__(self) -> None:
        super().__init__(0)
        self.report_total: int | None = None
        self.arrived = False
        self.snapshots: deque[Snapshot] = deque()
        self.sent = self.floor = 0

    @property
    def moved(self) -> int:
        return self.up.bytes + self.down.bytes


numbers = st.integers(0, 2)


class Network(RuleBasedStateMachine):
    """Reports are late, lost, or stored and never acknowledged; snapshots are late, and are overtaken.

    At most one acknowledgement overtakes a snapshot, as the time between two reports has it.
    """

    EDGES = 1

    def __init__(self) -> None:
        super().__init__()
        self.edges = [EdgeModel() for _ in range(self.EDGES)]
        self.stored = [0] * self.EDGES

    def edge(self, number: int) -> EdgeModel:
        return self.edges[number % self.EDGES]

    @rule(number=numbers, count=st.integers(0, 1000), up=st.booleans(), far=st.integers(0, 3))
    def bytes_move_and_maybe_a_report_is_sent(self, number: int, count: int, up: bool, far: int) -> None:
        edge = self.edge(number)
        (edge.up if up else edge.down).add(count)
        if far >= 1 and edge.report_total is None:
            edge.quota.note_sent()
            edge.sent = edge.report_total = edge.moved
            edge.arrived = False
        if far >= 2:
            self.store(number)
        if far >= 3:
            self.acknowledge(number)

    @rule(number=numbers, further=st.sampled_from(["store", "acknowledge", "lose"]))
    def a_report_goes_on(self, number: int, further: str) -> None:
        getattr(self, further)(number)

    def store(self, number: int) -> None:
        edge = self.edge(number)
        if edge.report_total is not None and not edge.arrived:
            edge.arrived = True
            self.stored[number % self.EDGES] = edge.report_total

    def acknowledge(self, number: int) -> None:
        edge = self.edge(number)
        if edge.report_total is not None and edge.arrived and not any(each.overtaken for each in edge.snapshots):
            for each in edge.snapshots:
                each.overtaken += 1
            edge.quota.note_acknowledged()
            edge.report_total = None

    def lose(self, number: int) -> None:
        self.edge(number).report_total = None

    @rule()
    def the_control_plane_says_what_is_used(self) -> None:
        for edge in self.edges:
            edge.snapshots.append(Snapshot(sum(self.stored)))

    @rule(number=numbers)
    def a_snapshot_arrives(self, number: int) -> None:
        edge = self.edge(number)
        if edge.snapshots:
            said = edge.snapshots.popleft().value
            if said != edge.quota.said:
                edge.floor = said - edge.sent
            edge.quota.learn(said)


class OneEdge(Network):
    """The count of an edge that is alone is exact at every moment, whatever the network does."""

    @invariant()
    def the_count_is_what_was_moved(self) -> None:
        assert self.edges[0].quota.used == self.edges[0].moved


class SeveralEdges(Network):
    """Each edge counts all of its own bytes, and those of others that the control plane has told; never more."""

    EDGES = 3

    @invariant()
    def the_count_is_never_more_than_was_moved(self) -> None:
        assert all(edge.quota.used <= sum(each.moved for each in self.edges) for edge in self.edges)

    @invariant()
    def the_count_is_at_least_what_is_told_and_what_no_report_has_had(self) -> None:
        assert all(edge.quota.used >= max(edge.moved, edge.floor + edge.moved) for edge in self.edges)


class Periods(Network):
    """A period begins at any moment. After two rounds of reports the count is off by the bytes of the last at most."""

    def __init__(self) -> None:
        super().__init__()
        self.base = 0

    @rule()
    def the_control_plane_says_what_is_used(self) -> None:
        self.edges[0].snapshots.append(Snapshot(self.stored[0] - self.base))

    @rule()
    def a_period_begins(self) -> None:
        self.base = self.stored[0]

    @precondition(lambda self: self.edges[0].report_total is None)
    @rule(rounds=st.lists(st.integers(1, 1000), min_size=2, max_size=3))
    def all_is_well_for_some_rounds(self, rounds: list[int]) -> None:
        edge = self.edges[0]
        while edge.snapshots:
            self.a_snapshot_arrives(0)
        for count in rounds:
            self.bytes_move_and_maybe_a_report_is_sent(0, count, up=True, far=3)
            self.the_control_plane_says_what_is_used()
            self.a_snapshot_arrives(0)
        assert 0 <= edge.quota.used - (edge.moved - self.base) <= rounds[-1]


for machine in (OneEdge, SeveralEdges, Periods):
    machine.TestCase.settings = examples(60, steps=40)

TestOneEdge = OneEdge.TestCase
TestSeveralEdges = SeveralEdges.TestCase
TestPeriods = Periods.TestCase
