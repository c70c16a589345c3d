"""The books: no byte is counted twice, and none is lost but those that the caller drops."""

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from reports import report

from trioedge_uniproxy import books as module
from trioedge_uniproxy.books import Books, Difference

KNOWN = {"7", "8", "9"}


def test_the_difference_to_the_last_report_is_due_and_a_repeated_one_changes_nothing() -> None:
    books = Books()
    for _ in range(3):
        books.add(report("a", ("7", 1, 10, 100, 1)), KNOWN)
    assert books.take(9) == {"7": (10, 100)}
    books.add(report("a", ("7", 1, 15, 100, 1), ("8", 2, 0, 0, 1)), KNOWN)
    assert books.due == {"7": (5, 0)}


def test_a_user_that_was_removed_and_named_again_is_billed_for_both() -> None:
    books = Books()
    books.add(report("a", ("7", 1, 10, 10, 1)), KNOWN)
    books.forget(["7"])
    books.add(report("a", ("7", 2, 3, 3, 1)), KNOWN)
    books.add(report("a", ("7", 1, 12, 10, 0)), KNOWN)  # the last one of the first
    assert books.take(9) == {"7": (15, 13)}


def test_totals_begin_at_0_in_each_run_of_the_edge() -> None:
    books = Books()
    books.add(report("a", ("7", 1, 10, 10, 1)), KNOWN)
    books.add(report("b", ("7", 1, 4, 4, 1)), KNOWN)
    assert books.due == {"7": (14, 14)}
    assert books.live == {("7", 1)}


def test_what_was_taken_is_gone_and_may_be_given_back() -> None:
    books = Books()
    books.add(report("a", ("7", 1, 10, 1, 1), ("8", 2, 20, 2, 1), ("9", 3, 30, 3, 1)), KNOWN)
    taken = books.take(2)
    assert taken == {"7": (10, 1), "8": (20, 2)}
    assert books.due == {"9": (30, 3)}
    books.add(report("a", ("7", 1, 11, 1, 1)), KNOWN)
    books.give_back(taken)
    assert books.due == {"7": (11, 1), "8": (20, 2), "9": (30, 3)}
    assert Books().take(5) == {}


def test_live_users_are_those_of_their_last_reports() -> None:
    books = Books()
    books.add(report("a", ("7", 1, 0, 0, 2), ("8", 2, 0, 0, 0)), KNOWN)
    assert books.live == {("7", 1)}
    books.add(report("a", ("7", 1, 0, 0, 0)), KNOWN)
    assert books.live == set()


def test_of_users_that_are_no_more_only_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RETIRED", 2)
    books = Books()
    books.add(report("a", *((str(number), number, 1, 1, 1) for number in range(5))), {"0", "1"})
    assert len(books._totals) == 4  # 0 and 1, and the last two of the others
    books.forget(["0", "1"])
    assert set(books._totals) == {"0", "1"}
    assert sum(up for up, _ in books.due.values()) == 5
    books.add(report("a", ("0", 0, 3, 1, 0)), set())
    assert books.due["0"] == (3, 1)


class BooksMachine(RuleBasedStateMachine):
    """Sessions move bytes, reports come late or twice, pushes fail in every way."""

    @initialize()
    def begin(self) -> None:
        self.books = Books()
        self.moved: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()  # by the panel
        self.dropped: Counter[str] = Counter()
        self.totals: dict[tuple[str, int], int] = {}
        self.pushed: dict[str, Difference] = {}
        self.lives = dict.fromkeys(KNOWN, 1)
        self.epoch = 1

    @rule(uid=st.sampled_from(sorted(KNOWN)), count=st.integers(1, 100))
    def move(self, uid: str, count: int) -> None:
        key = uid, self.lives[uid]
        self.totals[key] = self.totals.get(key, 0) + count
        self.moved[uid] += count

    @rule(again=st.booleans())
    def tell(self, again: bool) -> None:
        usage = [(uid, life, total, 0, 1) for (uid, life), total in self.totals.items()]
        for _ in range(1 + again):
            self.books.add(report(str(self.epoch), *usage), KNOWN)

    @rule(uid=st.sampled_from(sorted(KNOWN)))
    def name_again(self, uid: str) -> None:
        self.books.forget([uid])
        self.lives[uid] += 1

    @rule()
    def start_again(self) -> None:
        """The edge reports all before it stops."""
        self.tell(again=False)
        self.epoch += 1
        self.totals.clear()

    @precondition(lambda self: not self.pushed)
    @rule(most=st.integers(1, 3))
    def push(self, most: int) -> None:
        self.pushed = self.books.take(most)

    @precondition(lambda self: self.pushed)
    @rule(end=st.sampled_from(["acknowledged", "counted", "refused", "lost"]))
    def end(self, end: str) -> None:
        bytes_up = {uid: up for uid, (up, _) in self.pushed.items()}
        match end:
            case "acknowledged" | "counted":
                self.counted.update(bytes_up)
            case "refused":
                self.books.give_back(self.pushed)
            case "lost":
                self.dropped.update(bytes_up)
        self.pushed = {}

    @invariant()
    def no_byte_is_counted_twice(self) -> None:
        for uid in KNOWN:
            assert self.counted[uid] + self.dropped[uid] <= self.moved[uid]

    def teardown(self) -> None:
        if hasattr(self, "books"):
            self.tell(again=True)
            self.books.give_back(self.pushed)
            due = Counter({uid: up for uid, (up, _) in self.books.take(9).items()})
            assert self.counted + self.dropped + due == self.moved


TestBooks = BooksMachine.TestCase
