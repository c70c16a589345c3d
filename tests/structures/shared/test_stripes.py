import pytest

from tests.support.shared_memory import ScriptedLock, scripted_locks, stripes
from trioedge.structures.shared.stripes import SPINS, Mending, Stripe


def make_stripe(number: int = 0) -> tuple[Stripe, ScriptedLock, memoryview]:
    locks, marks = scripted_locks(), memoryview(bytearray(4))
    return stripes(locks, 2, marks)[number], locks[number], marks


def test_a_free_lock_is_had_at_the_first_try_and_marked_meanwhile() -> None:
    stripe, lock, marks = make_stripe(63)
    assert stripe.take()
    assert (lock.tries, lock.held, marks.tolist()) == (1, True, [0, 0, 64, 0])
    stripe.free()
    assert (lock.held, marks.tolist()) == (False, [0, 0, 0, 0])


def test_a_lock_of_another_process_is_tried_twenty_times_and_leaves_no_mark() -> None:
    stripe, lock, marks = make_stripe()
    lock.held = True
    assert not stripe.take()
    assert (lock.tries, marks.tolist()) == (SPINS, [0, 0, 0, 0])


def test_a_lock_that_the_parent_has_freed_is_freed_again_without_an_exception() -> None:
    stripe, lock, marks = make_stripe()
    stripe.take()
    lock.held = False
    stripe.free()
    assert not marks[2]


@pytest.mark.parametrize("number", [0, 1, 63])
def test_the_lock_of_a_dead_process_is_freed(number: int) -> None:
    locks, marks = scripted_locks(), memoryview(bytearray(4))
    stripes(locks, 1, marks)[number].take()
    mending = Mending(locks, marks)
    mending.died(1)
    assert mending.repair()
    assert not any(lock.held for lock in locks)
    assert not any(marks)


def test_a_lock_that_a_live_process_may_have_is_left_until_it_is_clear() -> None:
    locks, marks = scripted_locks(), memoryview(bytearray(4))
    stripes(locks, 1, marks)[5].take()
    marks[2] = 6  # a live process tries for it just now
    mending = Mending(locks, marks)
    mending.died(1)
    assert not mending.repair()
    assert locks[5].held
    marks[2] = 0
    assert mending.repair()
    assert not locks[5].held


def test_a_dead_process_that_only_wanted_a_lock_costs_a_live_holder_nothing() -> None:
    locks, marks = scripted_locks(), memoryview(bytearray(4))
    holder = stripes(locks, 2, marks)[7]
    holder.take()
    marks[1] = 8  # it was killed between its mark and its first try
    mending = Mending(locks, marks)
    mending.died(1)
    assert not mending.repair()
    assert locks[7].held
    holder.free()
    assert mending.repair()
    assert not locks[7].held


def test_a_process_that_died_without_a_lock_leaves_nothing_to_repair() -> None:
    locks = scripted_locks()
    mending = Mending(locks, memoryview(bytearray(4)))
    mending.died(1)
    assert mending.repair()
    assert not any(lock.tries for lock in locks)
