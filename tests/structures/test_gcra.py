import itertools
from collections import Counter, defaultdict
from collections.abc import Hashable
from math import nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples, keys
from trioedge.addresses.source_prefix import flood_groups
from trioedge.errors import ConfigurationError
from trioedge.structures.gcra import Gate as AnyGate
from trioedge.structures.gcra import GateAnswer, RateSpec


class Gate:
    """A gate with the same rate for every key."""

    def __init__(self, rate: float, burst: int, capacity: int) -> None:
        self._gate, self._rate = AnyGate(capacity), RateSpec(rate, burst)

    def __len__(self) -> int:
        return len(self._gate)

    def admit(self, key: Hashable, now: float) -> GateAnswer:
        return self._gate.admit(key, now, self._rate)


exact_rates = st.integers(-10, 10).map(lambda power: 2.0**power)
"""Powers of two: their intervals are exact, so that a model can ask for equality."""

any_rates = st.floats(1e-6, 1e6)
bursts = st.integers(1, 8)
gaps = st.one_of(st.just(0.0), st.sampled_from([0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 8.0]))
"""Times between two arrivals, in intervals of the rate."""


@st.composite
def arrivals(draw: st.DrawFn, rate: float, gaps: st.SearchStrategy[float] = gaps) -> list[tuple[str, float]]:
    """Keys with the times at which they arrive, in order."""
    now = draw(st.integers(0, 1000)) / rate
    arriving = []
    for key, gap in draw(st.lists(st.tuples(keys, gaps), max_size=60)):
        now += gap / rate
        arriving.append((key, now))
    return arriving


class Promise:
    """The promise of a gate: admit unless a stretch of time that ends now would have too many sessions of the key."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.admitted: defaultdict[str, list[float]] = defaultdict(list)

    def may_admit(self, key: str, now: float) -> bool:
        times = [*self.admitted[key], now]
        return all(len(times) - number <= self.rate * (now - since) + self.burst for number, since in enumerate(times))

    def is_live(self, key: str, now: float) -> bool:
        """Whether less than an interval has passed since the last session of the key."""
        return bool(self.admitted[key]) and now - self.admitted[key][-1] < 1 / self.rate


@examples(150)
@given(st.data(), exact_rates, bursts)
def test_each_key_is_admitted_exactly_when_the_promise_allows_it(data: st.DataObject, rate: float, burst: int) -> None:
    gate, model = Gate(rate, burst, capacity=100), Promise(rate, burst)
    for key, now in data.draw(arrivals(rate)):
        if model.may_admit(key, now):
            model.admitted[key].append(now)
            assert gate.admit(key, now) is GateAnswer.ADMITTED
        else:
            assert gate.admit(key, now) is GateAnswer.TOO_FAST


@examples(150)
@given(st.data(), any_rates, bursts, st.integers(1, 3))
def test_no_stretch_of_time_has_more_sessions_of_a_key_than_promised(
    data: st.DataObject, rate: float, burst: int, capacity: int
) -> None:
    gate, admitted = Gate(rate, burst, capacity), defaultdict(list)
    for key, now in data.draw(arrivals(rate, gaps=st.floats(0, 2))):
        if gate.admit(key, now) is GateAnswer.ADMITTED:
            admitted[key].append(now)
    for times in admitted.values():
        for first, since in enumerate(times):
            for last, until in enumerate(times[first:], first):
                assert last - first + 1 <= rate * (until - since) + burst + 0.01, "a hundredth is for rounding"


@examples(150)
@given(st.data(), exact_rates, bursts, st.integers(1, 2))
def test_at_capacity_new_keys_are_refused_and_live_keys_are_admitted_as_promised(
    data: st.DataObject, rate: float, burst: int, capacity: int
) -> None:
    gate, model = Gate(rate, burst, capacity), Promise(rate, burst)
    for key, now in data.draw(arrivals(rate)):
        admission = gate.admit(key, now)
        if admission is GateAnswer.FULL:
            assert not model.is_live(key, now)
            assert len(gate) == capacity
        else:
            assert (admission is GateAnswer.ADMITTED) == model.may_admit(key, now)
            assert len(gate) <= capacity
        if admission is GateAnswer.ADMITTED:
            model.admitted[key].append(now)


def opened_at_once(gate: Gate, now: float) -> int:
    """Count the sessions that one key may open at one moment."""
    number = 0
    while gate.admit("a", now) is GateAnswer.ADMITTED:
        number += 1
        assert number < 1000
    return number


@pytest.mark.parametrize("start", [0.0, 12_345.678, 1e6])
@pytest.mark.parametrize("burst", [1, 2, 100])
@pytest.mark.parametrize("rate", [1e-3, 0.3, 7, 1e4])
def test_after_a_rest_a_key_has_its_whole_burst_again(rate: float, burst: int, start: float) -> None:
    gate, rest = Gate(rate, burst, capacity=1), burst / rate
    assert opened_at_once(gate, start) == burst
    assert opened_at_once(gate, start + 1.001 * rest) == burst
    assert opened_at_once(gate, start + 1000 * rest) == burst, "a longer rest saves up no more"


@pytest.mark.parametrize("rate", [1e-6, 0.3, 7, 1e6])
def test_a_spent_key_is_admitted_at_the_rate(rate: float) -> None:
    gate = Gate(rate, 4, capacity=1)
    opened_at_once(gate, 0.0)
    hundredths = [step / 100 / rate for step in range(1, 1001)]
    admitted = [now for now in hundredths if gate.admit("a", now) is GateAnswer.ADMITTED]
    assert len(admitted) in (9, 10), "ten intervals, less one lost to rounding at the very end"
    assert admitted[0] >= 0.99 / rate


def test_a_full_gate_admits_a_new_key_once_an_old_one_is_idle() -> None:
    gate = Gate(rate=1, burst=1, capacity=2)
    assert [gate.admit(key, 0.0) for key in "abc"] == [GateAnswer.ADMITTED, GateAnswer.ADMITTED, GateAnswer.FULL]
    assert gate.admit("c", 0.5) is GateAnswer.FULL
    assert gate.admit("c", 1.0) is GateAnswer.ADMITTED


def test_a_client_that_rotates_keys_fills_the_table_with_live_keys_only() -> None:
    gate = Gate(rate=1, burst=4, capacity=1_000)
    sizes = []
    for number in range(400):
        assert gate.admit(number, number / 8) is GateAnswer.ADMITTED
        sizes.append(len(gate))
    assert max(sizes) == 8


def test_the_table_shrinks_while_new_keys_arrive() -> None:
    gate = Gate(rate=1, burst=1, capacity=1_000)
    for number in range(100):
        gate.admit(number, 0.0)
    sizes = []
    for number in range(100, 150):
        gate.admit(number, 1.0)
        sizes.append(len(gate))
    assert sizes == list(range(99, 49, -1))


def test_a_key_that_comes_back_does_not_hide_an_idle_key_behind_it() -> None:
    """The key that was admitted first of all need not be the one whose last admission is oldest."""
    gate = Gate(rate=1, burst=2, capacity=2)
    gate.admit("regular", 0.0)
    gate.admit("once", 0.5)
    gate.admit("regular", 1.0)
    assert gate.admit("new", 1.5) is GateAnswer.ADMITTED
    assert gate.admit("regular", 1.5) is GateAnswer.ADMITTED
    assert gate.admit("regular", 1.5) is GateAnswer.TOO_FAST


def test_a_spent_key_at_the_head_does_not_keep_idle_keys_in_memory() -> None:
    """5,000 new sources a second, beside one that has spent its burst: newcomers are admitted all the time."""
    gate = AnyGate(65_536)
    slow, rate = RateSpec(1 / 60, 100), RateSpec(1, 1)
    for _ in range(100):
        gate.admit("spent", 0.0, slow)
    flood = itertools.count()
    for second in range(20):
        for step in range(5_000):
            assert gate.admit(next(flood), second + step / 5_000, rate) is GateAnswer.ADMITTED
        newcomers = [gate.admit(("honest", second, number), second + 1.0, rate) for number in range(10)]
        assert newcomers == [GateAnswer.ADMITTED] * 10
        assert len(gate) <= 5_000 + 5_000 / 8
    assert gate.admit("spent", 60.0, slow) is GateAnswer.ADMITTED, "a busy key is not dropped before its time"
    assert gate.admit("spent", 60.0, slow) is GateAnswer.TOO_FAST


def test_a_full_table_of_one_prefix_admits_strangers() -> None:
    """65,536 networks /64 of one /32, each at one session a minute, and IPv4 strangers."""
    gate, rate = AnyGate(65_536, flood_groups), RateSpec(1 / 60, 1)
    flood = [b"\x20\x01\x0d\xb8" + number.to_bytes(4) + bytes(8) for number in range(65_536)]
    answers = Counter(gate.admit(key, 0.0, rate) for key in flood)
    assert answers[GateAnswer.FULL] > 10_000
    strangers = [bytes([number >> 8, number & 255, 2, 1]) for number in range(1, 1_001)]
    assert {gate.admit(key, 1.0, rate) for key in strangers} == {GateAnswer.ADMITTED}
    assert {gate.admit(key, 2.0, rate) for key in flood} <= {GateAnswer.FULL, GateAnswer.TOO_FAST}


@examples(60)
@given(st.lists(st.tuples(st.integers(0, 255), st.sampled_from([0.0, 0.25, 1.0, 5.0])), max_size=120))
def test_a_flooded_gate_forgets_no_active_key_and_keeps_its_bound(arriving: list[tuple[int, float]]) -> None:
    """The model is a gate with room for all keys, asked about each session that the flooded one had a place for."""
    full, alone, rate, now = AnyGate(16, flood_groups), AnyGate(1_000), RateSpec(1, 1), 0.0
    for number, gap in arriving:
        now += gap
        key = bytes([10, 0, number & 3, number])
        answer = full.admit(key, now, rate)
        if answer is not GateAnswer.FULL:
            assert alone.admit(key, now, rate) is answer
        assert len(full) <= 16


def test_a_full_gate_looks_past_keys_that_came_back_for_an_idle_one() -> None:
    gate = Gate(rate=1, burst=2, capacity=8)
    regulars = "abcdefg"
    for key in regulars:
        gate.admit(key, 0.0)
    gate.admit("idle since 1.5", 0.5)
    for key in regulars:
        assert gate.admit(key, 0.6) is GateAnswer.ADMITTED
    assert gate.admit("new", 1.6) is GateAnswer.ADMITTED
    assert len(gate) == 8


def test_a_key_that_came_back_is_dropped_once_it_is_idle() -> None:
    gate = Gate(rate=1, burst=2, capacity=100)
    gate.admit("twice", 0.0)
    gate.admit("twice", 0.0)
    gate.admit("at 1.5", 1.5)  # before "twice" is idle
    assert len(gate) == 2
    gate.admit("at 10", 10.0)
    assert len(gate) == 1


def test_a_group_whose_keys_are_idle_has_its_places_again() -> None:
    gate, rate = AnyGate(4, lambda key: ("all of them",)), RateSpec(1, 1)
    for day in range(5):
        answers = [gate.admit((day, number), 10.0 * day, rate) for number in range(4)]
        assert answers == [GateAnswer.ADMITTED] * 3 + [GateAnswer.FULL]


def test_a_session_that_is_early_by_the_whole_tolerance_is_admitted() -> None:
    gate, slow = AnyGate(1), RateSpec(0.01, burst=1)
    assert slow.tolerance == 1.0
    assert gate.admit("a", 0.0, RateSpec(1, burst=1)) is GateAnswer.ADMITTED
    assert gate.admit("a", 0.0, slow) is GateAnswer.ADMITTED


def test_another_rate_applies_from_the_next_session_on() -> None:
    gate = AnyGate(capacity=1)
    slow, fast = RateSpec(1, 1), RateSpec(10, 1)
    assert gate.admit("a", 0.0, slow) is GateAnswer.ADMITTED
    assert gate.admit("a", 0.5, slow) is GateAnswer.TOO_FAST
    assert gate.admit("a", 1.0, fast) is GateAnswer.ADMITTED, "the sessions at the old rate still count"
    assert gate.admit("a", 1.1, fast) is GateAnswer.ADMITTED
    assert gate.admit("a", 1.15, slow) is GateAnswer.TOO_FAST


@pytest.mark.parametrize("rate", [1e-9, 1e-300, 5e-324])
def test_a_rate_close_to_0_is_still_a_limit(rate: float) -> None:
    gate, spec = AnyGate(1), RateSpec(rate, 2)
    answers = [gate.admit("a", float(now), spec) for now in range(4)]
    assert answers == [GateAnswer.ADMITTED] * 2 + [GateAnswer.TOO_FAST] * 2


@pytest.mark.parametrize(
    ("rate", "burst", "fault"),
    [
        (0, 1, "RateSpec(rate=0) must be a number above 0"),
        (nan, 1, "RateSpec(rate=nan) must be a number above 0"),
        ("5", 1, "RateSpec(rate='5') must be a number above 0"),
        (5, 0, "RateSpec(burst=0) must be a whole number of at least 1"),
        (5, 1.5, "RateSpec(burst=1.5) must be a whole number of at least 1"),
    ],
)
def test_a_wrong_rate_is_refused(rate: Any, burst: Any, fault: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        RateSpec(rate, burst)
    assert str(refusal.value) == fault


def test_a_rate_shows_its_numbers() -> None:
    assert repr(RateSpec(0.5, 20)) == "RateSpec(0.5, burst=20)"


@pytest.mark.parametrize("capacity", [0, 1.5, None])
def test_a_wrong_capacity_is_refused(capacity: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^Gate\(capacity=.*\) must be a whole number of at least 1$"):
        AnyGate(capacity)


@pytest.mark.parametrize("rate", [5, None, (5, 1)])
def test_a_number_in_place_of_a_rate_is_refused_and_uses_no_place(rate: Any) -> None:
    gate = AnyGate(capacity=1)
    with pytest.raises(TypeError, match=r"^gate\.admit\(rate=.*\) must be te\.RateSpec\(rate, burst\)$"):
        gate.admit("a", 0.0, rate)
    assert len(gate) == 0
