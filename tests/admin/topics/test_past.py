"""Counts of processes that are over: they stay in the sums, once."""

from typing import Any

from trioedge.admin.asking import WorkerAnswer, WorkerFacts
from trioedge.admin.topics.past import MAX_PROCESSES, PastStatistics


def answer(pid: int, accepted: int, **refused: int) -> WorkerAnswer:
    value: dict[str, Any] = {
        "accepted": accepted, "bytes_up": 1, "bytes_down": 2, "observers_lost": 0, "refused": refused, "ended": {},
        "api_errors": {}, "live": 9,
    }  # fmt: skip
    return WorkerAnswer(WorkerFacts(number=0, pid=pid), value)


def test_while_all_answer_there_is_nothing_beside() -> None:
    past = PastStatistics()
    assert past.beside([]) == {}
    assert past.beside([answer(1, 5), answer(2, 7)]) == {}
    assert past.beside([answer(1, 6), answer(2, 8)]) == {}


def test_a_process_that_does_not_answer_counts_as_it_did_last_and_no_more_once_it_does() -> None:
    past = PastStatistics()
    past.beside([answer(1, 5, rate=1), answer(2, 7, rate=2, source=1)])
    beside = past.beside([answer(1, 6)])
    assert (beside["accepted"], beside["bytes_down"], beside["refused"]) == (7, 2, {"rate": 2, "source": 1})
    assert "live" not in beside
    assert past.beside([answer(1, 6), answer(2, 9)]) == {}


def test_processes_that_are_over_add_up_however_many_they_are() -> None:
    past = PastStatistics()
    for pid in range(3 * MAX_PROCESSES):
        past.beside([answer(pid, 1, rate=1)])
    beside = past.beside([])
    assert (beside["accepted"], beside["refused"]) == (3 * MAX_PROCESSES, {"rate": 3 * MAX_PROCESSES})
