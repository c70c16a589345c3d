import json

import pytest

from tests.cli.conftest import Command
from tests.support.fake_edge import POINTS, STATISTICS, FakeEdge
from trioedge.cli.live.statistics import by_reason


def test_counts_history_and_workers_are_shown(fake: FakeEdge, command: Command) -> None:
    code, out, error = command("statistics")
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[:6] == [
        "edge      shop, serving for 3 h 12 m",
        "live      1,204, and 3 in their handshake",
        "accepted  20,340",
        "bytes     up 1.0 GB, down 30 GB",
        "refused   1,223: source 1,203, rate 20",
        "ended     18,000: finished 18,000",
    ]
    assert lines[7].startswith("live, the last 4 m 55 s  ▆")
    assert [line.partition("  ")[2].strip() for line in lines[8:10]] == [
        "1,290, 2 m 30 s ago", "1,000, 2 m 25 s ago",
    ]  # fmt: skip
    assert lines[11:] == [
        "worker  pid  state  generation  live  accepted  silent",
        "     0  811  ready           1   600    10,000    0 ms",
        "     1  812  ready           1   604    10,340       -",
    ]


def test_one_worker_and_one_point_need_no_table(fake: FakeEdge, command: Command) -> None:
    fake.answers["GET", "/v1/statistics"] = (200, {**STATISTICS, "workers": STATISTICS["workers"][:1]})  # type: ignore[index]
    fake.answers["GET", "/v1/history"] = (200, {"seconds": 5, "points": POINTS[:1]})
    assert len(command("statistics")[1].splitlines()) == 6


def test_a_worker_that_does_not_answer_is_named(fake: FakeEdge, command: Command) -> None:
    fake.answers["GET", "/v1/statistics"] = (200, {**STATISTICS, "missing": [1, 3]})
    assert command("statistics")[1].splitlines()[-1] == "no answer  2 workers: 1, 3"


@pytest.mark.parametrize(
    ("reasons", "text"),
    [({}, "none"), ({"rate": 1}, "1: rate 1"), ({"a": 1, "c": 1_000, "b": 1}, "1,002: c 1,000, a 1, b 1")],
)
def test_reasons_stand_by_their_counts(reasons: dict[str, int], text: str) -> None:
    assert by_reason(reasons) == text


def test_json_has_both(fake: FakeEdge, command: Command) -> None:
    found = json.loads(command("statistics", "--json")[1])
    assert found == {"statistics": STATISTICS, "history": {"seconds": 5, "points": POINTS}}
