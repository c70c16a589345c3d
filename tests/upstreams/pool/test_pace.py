from math import inf

from trioedge.structures.backoff import Backoff
from trioedge.upstreams.pool.pace import TOP_UP_SECONDS, Pace


def new() -> Pace:
    return Pace(Backoff(0.1, 30.0, lambda: 1.0))  # each pause is its longest


def test_it_fills_when_it_is_told_and_then_rests() -> None:
    pace = new()
    assert not pace.begins(100.0)
    pace.soon(5.0)
    assert not pace.begins(4.9)
    assert pace.begins(5.0)
    assert (pace.fill_at, pace.pausing) == (inf, False)


def test_a_session_that_takes_a_connection_wakes_the_worker_once_a_second_at_most() -> None:
    pace = new()
    assert pace.took(5.0)
    assert pace.fill_at == 5.0 + TOP_UP_SECONDS
    assert [pace.took(now) for now in (5.0, 5.5, 5.9)] == [False] * 3
    assert pace.begins(6.0)
    assert pace.took(6.1)


def test_pauses_double_until_a_session_takes_a_connection() -> None:
    pace = new()
    pauses = []
    for _ in range(4):
        assert pace.failed(10.0)
        assert not pace.failed(10.0), "one pause at a time"
        pauses.append(round(pace.fill_at - 10.0, 3))
        assert not pace.begins(10.0)
        pace.soon(10.0)
        assert pace.pausing, "nothing ends a pause early"
        assert pace.begins(pace.fill_at)
    assert pauses == [0.1, 0.2, 0.4, 0.8]
    pace.took(20.0)
    pace.failed(20.0)
    assert round(pace.fill_at - 20.0, 3) == 0.1


def test_an_upstream_that_closes_unused_connections_is_said_once_until_it_proves_patient() -> None:
    pace = new()
    assert pace.lost(1.0)
    assert (pace.impatient, pace.pausing, pace.fill_at) == (True, True, 1.1)
    assert not pace.lost(1.05)
    assert pace.fill_at == 1.1, "no second pause"
    assert pace.begins(1.1)
    assert not pace.lost(2.0)
    assert round(pace.fill_at - 2.0, 3) == 0.2
    pace.proved_patient()
    assert not pace.impatient
    assert pace.begins(3.0)
    assert pace.lost(4.0)
    assert round(pace.fill_at - 4.0, 3) == 0.1


def test_a_session_that_takes_a_connection_of_an_impatient_upstream_ends_the_pause() -> None:
    pace = new()
    for now in (1.0, 2.0, 3.0):
        pace.lost(now)
        pace.begins(inf)
    pace.lost(4.0)
    assert pace.took(4.1)
    assert (pace.impatient, pace.pausing, pace.fill_at) == (False, False, 4.1 + TOP_UP_SECONDS)
    assert not pace.lost(5.0), "it is in the log already"


def test_a_refusal_is_not_forgotten_by_a_session_that_takes_one_of_the_others() -> None:
    pace = new()
    pace.failed(1.0)
    assert not pace.took(1.05)
    assert (pace.pausing, pace.fill_at) == (True, 1.1)
