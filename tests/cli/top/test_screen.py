from typing import Any

import pytest

from tests.support.fake_edge import POINTS, STAGE, STATISTICS, TOP
from trioedge.cli.top.sample import By, Sample
from trioedge.cli.top.screen import PAGE, Screen


def sources(count: int, at: float = 1.0, by: By = "source") -> Sample:
    rows: list[dict[str, Any]] = [
        {"key": f"k{number}", "service": "shop" if by == "device" else None, "live": 3, "bytes_up": 1, "bytes_down": 2}
        for number in range(count)
    ]
    return Sample(at, by, STATISTICS, POINTS, [STAGE], rows)


@pytest.fixture
def screen() -> Screen:
    screen = Screen()
    screen.take(sources(30))
    return screen


@pytest.mark.parametrize(
    ("pressed", "chosen"),
    [
        (["down"], 0), (["up"], 0), (["j", "j", "k"], 0), (["down", "down"], 1), (["end"], 0),
        (["down", "end"], 29), (["down", "end", "down"], 29), (["down", "pagedown"], PAGE),
        (["down", "pagedown", "pageup", "up"], 0), (["down", "end", "home"], 0),
    ],
)  # fmt: skip
def test_a_row_is_chosen_by_steps_within_the_rows(pressed: list[str], chosen: int, screen: Screen) -> None:
    for key in pressed:
        assert screen.press(key) is None
    assert screen.row is screen.rows[chosen]


def test_the_chosen_row_stays_chosen_where_it_moves_and_is_none_where_it_is_gone(screen: Screen) -> None:
    for key in ("down", "down", "down"):
        screen.press(key)
    screen.take(Sample(2.0, "source", STATISTICS, POINTS, [STAGE], sources(30).rows[::-1]))
    assert screen.row is not None
    assert screen.row["key"] == "k2"
    screen.take(sources(2, 3.0))
    assert screen.row is None
    screen.press("e")
    assert not screen.asking, "there is nothing to ask"


def test_tab_goes_round_and_chooses_nothing(screen: Screen) -> None:
    screen.press("down")
    found = []
    for _ in range(3):
        screen.press("tab")
        found.append((screen.by, screen.chosen, screen.rows))
    assert found == [("service", None, []), ("device", None, []), ("source", None, screen.rows)]
    screen.press("left")
    assert screen.by == "device"


def test_s_and_b_change_the_order_and_q_ends(screen: Screen) -> None:
    found = []
    for key in ("b", "s"):
        screen.press(key)
        found.append(screen.order)
    assert found == ["bytes", "live"]
    for key in ("x", "enter", "escape", "\ufffd"):
        screen.press(key)
    assert not screen.ended
    screen.press("q")
    assert screen.ended


def test_only_y_confirms_an_eviction(screen: Screen) -> None:
    screen.press("e")
    assert not screen.asking, "no row is chosen"
    screen.press("down")
    for key in ("n", "q", "enter", "escape", "e"):
        screen.press("e")
        assert screen.asking
        assert screen.press(key) is None
        assert not screen.asking
    assert not screen.ended, "q is a no"
    screen.press("e")
    assert screen.press("y") == {"source": "k0"}


def test_a_device_is_evicted_of_its_service() -> None:
    screen = Screen("device")
    screen.take(Sample(1.0, "device", STATISTICS, POINTS, [STAGE], TOP["device"]))
    for key in ("down", "e"):
        screen.press(key)
    assert screen.press("y") == {"service": "shop", "device": "phone"}


def test_a_row_that_is_gone_when_the_answer_comes_cuts_nothing(screen: Screen) -> None:
    for key in ("down", "e"):
        screen.press(key)
    screen.take(sources(0, 2.0))
    assert screen.press("y") is None
    assert screen.said == "it has no session any more"
    screen.press("down")
    assert screen.said == ""


def test_a_lost_edge_keeps_the_last_answers_without_rates(screen: Screen) -> None:
    screen.take(sources(3, 2.0))
    assert screen.rates
    screen.lose("unix:///run/edge.sock is not there: the edge does not run")
    found: tuple[object, ...] = (screen.lost, screen.rates, len(screen.rows))
    assert found == ("unix:///run/edge.sock is not there", None, 3)
    screen.take(sources(3, 3.0))
    assert screen.lost == ""
