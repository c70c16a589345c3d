from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.strategies import examples
from trioedge.session.notifier import Notifier


def test_only_the_first_event_after_each_listen_is_reported() -> None:
    events, reported = 0, list[int]()
    notifier = Notifier(lambda: reported.append(events))

    def happen(count: int) -> None:
        nonlocal events
        for _ in range(count):
            events += 1
            if notifier.quiet:
                notifier.wake()

    happen(2)
    assert reported == [], "there was no listen yet"
    for _ in range(2):
        notifier.listen()
        notifier.listen()
        happen(3)
    assert reported == [3, 6]


def test_a_callback_that_listens_again_is_called_at_the_next_event() -> None:
    calls = 0

    def again() -> None:
        nonlocal calls
        calls += 1
        notifier.listen()

    notifier = Notifier(again)
    notifier.listen()
    for count in (1, 2, 3):
        assert notifier.quiet
        notifier.wake()
        assert calls == count


class NotifierMachine(RuleBasedStateMachine):
    """A model in two variables: which of three callbacks is attached, and whether the next event is reported."""

    def __init__(self) -> None:
        super().__init__()
        self.notifier = Notifier()
        self.attached: int | None = None
        self.quiet = False
        self.calls, self.expected = [0] * 3, [0] * 3

    def callback(self, number: int) -> Callable[[], None]:
        def call() -> None:
            self.calls[number] += 1

        return call

    @rule(number=st.none() | st.integers(0, 2))
    def attach(self, number: int | None) -> None:
        self.notifier.attach(None if number is None else self.callback(number))
        self.attached, self.quiet = number, False

    @rule()
    def listen(self) -> None:
        self.notifier.listen()
        self.quiet = self.attached is not None

    @rule()
    def event(self) -> None:
        if self.notifier.quiet:
            self.notifier.wake()
        if self.quiet and self.attached is not None:
            self.expected[self.attached] += 1
        self.quiet = False

    @invariant()
    def the_attached_callback_was_called_once_for_each_listen_with_an_event(self) -> None:
        assert self.calls == self.expected
        assert self.notifier.quiet is self.quiet


TestNotifier = NotifierMachine.TestCase
TestNotifier.settings = examples(50, steps=20)


def test_waking_without_a_callback_does_nothing() -> None:
    notifier = Notifier()
    notifier.listen()
    notifier.wake()
    assert not notifier.quiet
