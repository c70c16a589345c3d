from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.strategies import examples
from trioedge.session.allowance import Allowance


class Relay:
    """One direction of a session, which moves bytes while it may."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.moved = 0
        self.calls = 0

    def read(self, wanted: int) -> None:
        count = min(wanted, self.allowance.left)
        if count > 0:
            self.allowance.left -= count
            self.moved += count
        elif wanted:
            self.allowance.wait(self.resume)

    def resume(self) -> None:
        self.calls += 1


relays = st.integers(0, 3)
ALLOWED = 100


class AllowanceMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.allowance = Allowance(ALLOWED)
        self.relays = [Relay(self.allowance) for _ in range(4)]
        self.waiting: set[int] = set()
        self.calls = [0] * 4

    @rule(number=relays, wanted=st.integers(0, 60))
    def read(self, number: int, wanted: int) -> None:
        if wanted and self.allowance.left <= 0:
            self.waiting.add(number)
        self.relays[number].read(wanted)

    @rule(number=relays)
    def wait(self, number: int) -> None:
        """Wait although bytes may be left, as a relay does that saw none a moment ago."""
        if self.allowance.lifted:
            self.calls[number] += 1
        else:
            self.waiting.add(number)
        self.allowance.wait(self.relays[number].resume)

    @rule(number=relays)
    def forget(self, number: int) -> None:
        self.waiting.discard(number)
        self.allowance.forget(self.relays[number].resume)

    @rule()
    def lift(self) -> None:
        for number in self.waiting:
            self.calls[number] += 1
        self.waiting.clear()
        self.allowance.lift()

    @invariant()
    def each_waiting_callback_was_called_once_and_no_other(self) -> None:
        assert [relay.calls for relay in self.relays] == self.calls

    @invariant()
    def no_more_bytes_were_moved_than_allowed_before_it_was_lifted(self) -> None:
        moved = sum(relay.moved for relay in self.relays)
        assert self.allowance.lifted or moved + self.allowance.left == ALLOWED


TestAllowance = AllowanceMachine.TestCase
TestAllowance.settings = examples(25, steps=30)


def test_a_lifted_allowance_is_never_used_up() -> None:
    allowance = Allowance(0)
    allowance.lift()
    allowance.left -= 10**15
    assert allowance.left > 10**15


def test_a_callback_may_forget_the_callbacks_of_other_sessions() -> None:
    """A session that goes on may end another one, whose callback must then not be called, in any order."""
    allowance = Allowance(0)
    relays = [Relay(allowance) for _ in range(2)]

    def end_the_others() -> None:
        for relay in relays:
            allowance.forget(relay.resume)

    allowance.wait(relays[0].resume)
    allowance.wait(end_the_others)
    allowance.wait(relays[1].resume)
    allowance.lift()
    assert sum(relay.calls for relay in relays) == 1, "only the one that was called before the others were ended"


def test_a_callback_that_waits_again_is_called_at_once_and_only_once_more() -> None:
    allowance = Allowance(0)
    calls: list[int] = []

    def again() -> None:
        calls.append(allowance.left)
        if len(calls) < 2:
            allowance.wait(again)

    allowance.wait(again)
    allowance.lift()
    assert len(calls) == 2
    assert min(calls) > 0, "a relay that is called may read"
