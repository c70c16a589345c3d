"""The last 15 minutes."""

from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.support.admin import FakeAsker, answers
from trioedge.admin.asking import Answers, WorkerAnswer, WorkerFacts
from trioedge.admin.history import POINTS, History, Totals
from trioedge.telemetry.log import EdgeLog


def counts(accepted: int = 0, live: int = 0, **refused: int) -> dict[str, Any]:
    return {
        "accepted": accepted, "live": live, "bytes_up": 2 * accepted, "bytes_down": 3 * accepted, "refused": refused,
        "ended": {"finished": accepted},
    }  # fmt: skip


async def test_a_point_has_what_has_happened_since_the_one_before(autojump_clock: object) -> None:
    asker = FakeAsker({"statistics": [counts(100, 5, rate=7)]})
    history = History(asker, EdgeLog())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(history.run)
        await trio.sleep(4)
        assert history.answer() == {"seconds": 5.0, "points": []}
        asker.table["statistics"] = [counts(110, 6, rate=9, source=1)]
        await trio.sleep(2)
        (point,) = history.answer()["points"]
        assert {name: point[name] for name in point if name != "at"} == {
            "live": 6, "accepted": 10, "refused": 3, "ended": 10, "bytes_up": 20, "bytes_down": 30,
            "refused_by": {"rate": 2, "source": 1},
        }  # fmt: skip
        await trio.sleep(2_000)
        points = history.answer()["points"]
        assert (len(points), points[-1]["accepted"], points[-1]["refused_by"]) == (POINTS, 0, {})
        nursery.cancel_scope.cancel()


async def test_a_question_that_fails_costs_one_point(autojump_clock: object) -> None:
    asker = FakeAsker()
    history = History(asker, EdgeLog())
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(history.run)
            await trio.sleep(6)
            asker.table["statistics"] = [counts(1)]
            await trio.sleep(10)
            assert len(history.answer()["points"]) == 1
            nursery.cancel_scope.cancel()
    assert next(each["event"] for each in logs) == "admin history failed"


def test_a_worker_that_is_silent_once_is_counted_once() -> None:
    totals = Totals()
    totals.since(answers(counts(10), counts(20)))
    assert totals.since(answers(counts(11), None))["accepted"] == 1
    assert totals.since(answers(counts(12), counts(25)))["accepted"] == 6


def test_a_worker_that_was_replaced_begins_at_0() -> None:
    def worker(pid: int, accepted: int) -> Answers:
        return Answers([WorkerAnswer(WorkerFacts(number=0, pid=pid), counts(accepted))])

    totals = Totals()
    totals.since(worker(1, 10))
    assert totals.since(worker(2, 3))["accepted"] == 3
    assert totals.since(worker(2, 5))["accepted"] == 2


@given(st.lists(st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=2, max_size=2), max_size=20))
def test_increases_add_up_to_what_was_last_told(steps: list[list[int | None]]) -> None:
    totals, sums, told, whole = Totals(), [0, 0], [0, 0], 0
    totals.since(answers(counts(), counts()))
    for step in steps:
        said = []
        for place, more in enumerate(step):
            sums[place] += more or 0
            said.append(None if more is None else counts(sums[place]))
            told[place] = told[place] if more is None else sums[place]
        whole += totals.since(answers(*said))["accepted"]
    assert whole == sum(told)
