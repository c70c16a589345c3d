import pytest

from tests.support.shared_memory import SALT, make_limits, scripted_locks, zeros
from trioedge.structures.gcra import ADMITTED, TOO_FAST, RateSpec
from trioedge.structures.live_counts import ENTERED, TOO_MANY
from trioedge.structures.shared.limits import SharedLimits

ONCE = RateSpec(1, 1)


def test_two_processes_of_an_edge_share_gates_and_counters_by_number_and_two_edges_do_not() -> None:
    limits = make_limits()
    one, other, stranger = limits.of("web", 0, 0.0), limits.of("web", 1, 500.0), limits.of("mail", 1, 0.0)
    assert one.gate(1, 100).admit("a", 7.0, ONCE) is ADMITTED
    assert other.gate(1, 100).admit("a", 507.0, ONCE) is TOO_FAST
    assert other.gate(2, 100).admit("a", 507.0, ONCE) is ADMITTED
    assert stranger.gate(1, 100).admit("a", 7.0, ONCE) is ADMITTED
    assert one.counter(1, 100).enter("a", 1) is ENTERED
    assert other.counter(1, 100).enter("a", 1) is TOO_MANY
    assert other.counter(2, 100).enter("a", 1) is ENTERED
    assert stranger.counter(1, 100).enter("a", 1) is ENTERED


def test_new_objects_over_a_memory_find_what_it_has_as_after_an_exec() -> None:
    memory = zeros(SharedLimits.size(8))
    before = SharedLimits(memory, columns=8, salt=SALT, locks=scripted_locks()).of("web", 3, 0.0)
    before.gate(1, 100).admit("a", 7.0, ONCE)
    before.counter(1, 100).enter("a", 1)
    before.entered("shop")
    after = SharedLimits(memory, columns=8, salt=SALT, locks=scripted_locks())
    edge = after.of("web", 4, 0.0)
    assert edge.gate(1, 100).admit("a", 7.5, ONCE) is TOO_FAST
    assert edge.counter(1, 100).enter("a", 1) is TOO_MANY
    assert edge.total("shop") == 1
    after.release(3)
    assert edge.counter(1, 100).enter("a", 1) is ENTERED
    assert edge.total("shop") == 0


def test_a_memory_that_is_too_small_and_locks_that_are_too_few_are_refused() -> None:
    for memory, locks in ((zeros(4096), scripted_locks()), (zeros(SharedLimits.size(8)), scripted_locks()[1:])):
        with pytest.raises(ValueError, match="8 columns need 64 locks and"):
            SharedLimits(memory, columns=8, salt=SALT, locks=locks)


def test_sessions_of_services_and_of_the_edge_are_those_of_all_workers() -> None:
    limits = make_limits()
    one, other = limits.of("web", 0, 0.0), limits.of("web", 1, 0.0)
    one.entered("shop")
    one.entered("shop")
    other.entered("shop")
    other.left("unknown")
    assert one.total("shop") == other.total("shop") == 3
    assert [one.tell_live(2), other.tell_live(1), one.tell_live(0)] == [2, 3, 1]
    one.left("shop")
    limits.release(1)
    assert one.total("shop") == 1
    assert one.tell_live(1) == 1


def test_a_service_that_was_removed_has_its_whole_burst_in_every_gate_and_its_sessions_stay_counted() -> None:
    limits = make_limits()
    edge, control, other = limits.of("web", 0, 0.0), limits.of("web", 1, 0.0), limits.of("mail", 0, 0.0)
    gates = [edge.gate(1, 100), edge.gate(2, 100), other.gate(1, 100)]
    for gate in gates:
        gate.admit("shop", 7.0, ONCE)
    edge.entered("shop")
    control.clear("shop")
    control.clear("unknown")
    assert [gate.admit("shop", 7.0, ONCE) for gate in gates] == [ADMITTED, ADMITTED, TOO_FAST]
    assert edge.total("shop") == 1


def test_the_lock_of_a_worker_that_was_killed_is_free_again_once_it_is_released() -> None:
    locks = scripted_locks()
    limits = make_limits(locks=locks)
    edge = limits.of("web", 2, 0.0)
    edge.gate(1, 100)._rows.place("a").stripe.take()
    other = limits.of("web", 1, 0.0).gate(1, 100)
    assert other.admit("a", 1.0, ONCE) is ADMITTED, "nothing waits for it"
    limits.release(2)
    assert limits.repair()
    assert not any(lock.held for lock in locks)


def test_every_section_begins_at_a_cache_line_and_the_size_is_mostly_address_space() -> None:
    assert SharedLimits.size(8) % 64 == SharedLimits.size(200) % 64 == 0
    assert SharedLimits.size(8) < 500 * 2**20
