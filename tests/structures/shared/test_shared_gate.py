from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples, keys
from tests.support.shared_memory import SALT, ScriptedLock, scripted_locks, stripes
from trioedge.errors import ConfigurationError
from trioedge.structures.gcra import ADMITTED, FULL, TOO_FAST, Gate, RateSpec
from trioedge.structures.shared.keys import digest_of
from trioedge.structures.shared.rows import WAYS
from trioedge.structures.shared.shared_gate import ROW_BYTES, SharedGate

rates = st.sampled_from([RateSpec(1, 1), RateSpec(2, 3), RateSpec(0.25, 2), RateSpec(1024, 8)])
gaps = st.sampled_from([0.0, 0.0, 1 / 1024, 0.25, 0.5, 1.0, 4.0, 64.0])


def make_gates(
    processes: int = 2, rows: int = 64, capacity: int = 32, locks: list[ScriptedLock] | None = None
) -> list[SharedGate]:
    """Give the gate of each of several processes; the clock of process n is ahead by 1,000 n seconds."""
    memory, marks, locks = memoryview(bytearray(ROW_BYTES * rows)), memoryview(bytearray(16)), locks or scripted_locks()
    return [
        SharedGate(
            memory, capacity=capacity, digest=digest_of("gate", SALT), stripes=stripes(locks, process, marks),
            offset=1000.0 * process,
        )
        for process in range(processes)
    ]  # fmt: skip


@examples(300)
@given(st.lists(st.tuples(st.integers(0, 3), keys, gaps, rates), max_size=60), st.booleans(), st.booleans())
def test_several_processes_give_the_answers_of_one_gate(
    schedule: list[tuple[int, str, float, RateSpec]], unlocked: bool, exec_between: bool
) -> None:
    """Also without locks as long as no two decisions overlap, and with new objects over the same memory."""
    locks = scripted_locks()
    gates, alone, now = make_gates(4, locks=locks), Gate(100), 100.0
    memory = gates[0]
    for number, (process, key, gap, rate) in enumerate(schedule):
        now += gap
        for lock in locks:
            lock.held = unlocked
        if exec_between and number == len(schedule) // 2:
            gates = [_again(memory, process) for process in range(4)]
        assert gates[process].admit(key, now + 1000.0 * process, rate) is alone.admit(key, now, rate)


def _again(gate: SharedGate, process: int) -> SharedGate:
    whole = memoryview(gate._digests.obj)
    return SharedGate(
        whole, capacity=32, digest=digest_of("gate", SALT), stripes=stripes(scripted_locks(), process),
        offset=1000.0 * process,
    )  # fmt: skip


def test_a_bucket_of_active_keys_is_full_for_a_new_one_until_one_is_idle() -> None:
    full, rate = make_gates(rows=WAYS, capacity=1)[0], RateSpec(1, 4)
    for key in range(WAYS):
        assert full.admit(key, 0.0 + key / 100, rate) is ADMITTED
    assert full.admit("new", 0.5, rate) is FULL
    assert full.admit(3, 0.5, rate) is ADMITTED, "a key that has a row keeps it"
    assert full.admit("new", 1.0, rate) is ADMITTED
    assert full.admit("newer", 1.0, rate) is FULL
    assert len(full) == WAYS


def test_a_key_that_is_forgotten_has_its_whole_burst_in_every_process() -> None:
    gate, other = make_gates()
    rate = RateSpec(1, 2)
    for answer in (ADMITTED, ADMITTED, TOO_FAST):
        assert gate.admit("shop", 5.0, rate) is answer
    other.forget("shop")
    other.forget("unknown")
    for answer in (ADMITTED, ADMITTED, TOO_FAST):
        assert gate.admit("shop", 5.0, rate) is answer


def test_a_rate_that_is_none_and_a_key_that_is_none_are_refused_and_leave_no_lock() -> None:
    locks = scripted_locks()
    (gate,) = make_gates(1, locks=locks)
    with pytest.raises(TypeError, match=r"gate.admit\(rate=5\) must be te.RateSpec"):
        gate.admit("a", 0.0, 5)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="means nothing to other workers"):
        gate.admit(object(), 0.0, RateSpec(1, 1))
    assert not any(lock.held for lock in locks)


class Overlapping:
    """The arrival times as a process reads them that is stopped behind each read, while `meanwhile` runs."""

    def __init__(self, arrivals: Any, meanwhile: Callable[[], object]) -> None:
        self._arrivals, self._meanwhile = arrivals, meanwhile

    def __getitem__(self, row: Any) -> Any:
        found = self._arrivals[row]
        if isinstance(row, int):
            self._meanwhile()
        return found

    def __setitem__(self, row: int, arrival: float) -> None:
        self._arrivals[row] = arrival


@examples(50)
@given(st.integers(2, 5), st.integers(1, 6))
def test_decisions_that_overlap_without_a_lock_admit_at_most_one_more_for_each_further_process(
    processes: int, burst: int
) -> None:
    locks = scripted_locks()
    gates, rate = make_gates(processes, locks=locks), RateSpec(1e-6, burst)
    admitted = [gates[0].admit("a", 0.0, rate)]
    for lock in locks:
        lock.held = True  # a process was killed
    for number in range(processes - 1, 0, -1):  # process 0 is stopped while 1 decides, which is stopped while 2 …

        def meanwhile(behind: int = number) -> None:
            admitted.append(gates[behind].admit("a", 1000.0 * behind, rate))

        gates[number - 1]._times = Overlapping(gates[number - 1]._times, meanwhile)  # type: ignore[assignment]
    admitted += [gates[0].admit("a", 0.0, rate) for _ in range(3 * burst)]
    assert burst <= admitted.count(ADMITTED) <= burst * processes
    overlaps = len(admitted) - 1 - 3 * burst
    assert admitted.count(ADMITTED) - burst <= overlaps


def test_two_keys_that_take_one_row_without_a_lock_part_with_the_next_decision() -> None:
    """A process that has the lock, and is stopped, writes its key over that of one that has gone on without."""
    (gate, other), rate = make_gates(rows=WAYS, capacity=1), RateSpec(1, 1)
    gate.admit("slow", 0.0, rate)
    row = gate._rows.place("slow").row
    gate._digests[row] = gate._rows.place("fast").digest
    gate._times[row] = 0.0
    assert other.admit("fast", 1000.0, rate) is ADMITTED
    assert gate.admit("slow", 0.0, rate) is ADMITTED
    assert other.admit("slow", 1000.0, rate) is TOO_FAST
    assert gate.admit("fast", 0.0, rate) is TOO_FAST
