"""The screen as text, at every size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_edge import POINTS, STAGE, STATISTICS
from trioedge.cli.top.frame import frame
from trioedge.cli.top.sample import Sample
from trioedge.cli.top.screen import Screen

ROWS = [
    {"key": f"192.0.2.{number}", "service": None, "live": 100 - number, "bytes_up": 1_000 * number, "bytes_down": 10**6}
    for number in range(60)
]


def filled(at: float = 1.0, **changes: object) -> Screen:
    screen = Screen()
    for seconds in (0, 1):
        counts = {**STATISTICS, "accepted": 20_340 + 83 * seconds, "bytes_up": 10**9 + 1_200_000 * seconds, **changes}
        rows = [{**row, "bytes_up": 1_000 * (seconds + 1)} for row in ROWS]
        screen.take(Sample(at + seconds, "source", counts, POINTS, [STAGE], rows))
    return screen


def lines(screen: Screen, width: int = 80, height: int = 24, clock: str = "03:04:05 ") -> list[str]:
    return [line.plain.rstrip() for line in frame(screen, width, height, clock)]


def test_the_whole_screen_on_80_columns_and_24_lines() -> None:
    found = lines(filled())
    assert len(found) == 24
    assert found[0] == " shop   serving  up 3 h 12 m  2 of 2 workers                           03:04:05"
    assert found[1] == " live 1,204   new 83/s   refused 0/s   up 1.2 MB/s   down 0 B/s   in handshake 3"
    assert found[3].startswith(" live    ▆▇▇▇▇▇▇▇▇▇█████▆▇▇▇▇▇▇▇▇▇█████  highest 1,290 in 5 m"[:40])
    assert [line.split()[0] for line in found[3:8]] == ["live", "new", "refused", "up", "down"]
    assert found[9] == "  sources   services   devices    the most sessions first"
    assert found[10].split() == ["source", "live", "rate", "up", "down"]
    assert found[11] == " 192.0.2.0                                     100   1.0 kB/s   2.0 kB   1.0 MB"
    assert "refused since the start: 1,223" in "\n".join(found)
    assert "an admission takes" in "\n".join(found)
    assert found[-1] == " q quit   tab next   s sessions   b bytes   ↑↓ choose   e evict"


@given(st.integers(1, 250), st.integers(1, 80), st.booleans(), st.sampled_from(["", "down", "e"]))
def test_a_screen_fits_every_terminal(width: int, height: int, lost: bool, pressed: str) -> None:
    screen = filled()
    screen.press("down")
    screen.press(pressed)
    if lost:
        screen.lose("unix:///run/edge.sock is not there: it does not run")
    for each in (screen, Screen(), Screen(lost="away")):
        found = frame(each, width, height, "03:04:05")
        assert 1 <= len(found) <= height
        assert all(line.cell_len <= width for line in found)


@pytest.mark.parametrize(("height", "rows", "parts"), [(24, 5, 2), (18, 5, 1), (12, 7, 0), (6, 1, 0)])
def test_on_a_low_screen_other_parts_give_way_to_rows(height: int, rows: int, parts: int) -> None:
    found = "\n".join(lines(filled(), 80, height))
    assert sum(f"192.0.2.{number} " in found for number in range(60)) >= min(rows, 4) or height < 8
    assert ("highest" in found) + ("an admission takes" in found) == parts


def test_a_narrow_screen_has_the_figures_that_count_most() -> None:
    found = lines(filled(), 32, 12)
    assert found[1] == " live 1,204   new 83/s"
    assert any(line.split() == ["192.0.2.0", "100"] for line in found)


def test_the_rows_move_with_the_chosen_one() -> None:
    screen = filled()
    screen.press("down")
    screen.press("end")
    found = "\n".join(lines(screen))
    assert "192.0.2.59 " in found
    assert "192.0.2.0 " not in found


def test_a_question_stands_in_the_last_line() -> None:
    screen = filled()
    for key in ("down", "e"):
        screen.press(key)
    assert lines(screen)[-1] == " Cut 100 sessions of source 192.0.2.0? y cuts, any other key does not"
    screen.press("n")
    screen.said = "cut 3 sessions"
    assert lines(screen)[-1] == " cut 3 sessions"


def test_a_lost_edge_is_said_below_the_head() -> None:
    screen = filled()
    screen.lose("unix:///run/edge.sock is not there: the edge does not run")
    found = lines(screen)
    assert "no answer" in found[0]
    assert found[2] == " unix:///run/edge.sock is not there; trying again"
    assert "new -" in found[1]
    assert lines(Screen(lost="unix:///x is not there"), 40, 3)[0] == "unix:///x is not there"


def test_workers_that_are_silent_or_not_ready_are_said() -> None:
    workers = [{"state": "ready"}, {"state": "starting"}]
    assert "1 of 3 workers  silent: 2" in lines(filled(workers=workers, missing=[2]))[0]
    assert "worker" not in lines(filled(workers=workers[:1]))[0]


def test_a_name_that_a_client_chose_changes_no_terminal() -> None:
    screen = Screen("device")
    row = {**ROWS[0], "key": "a\x1b[31m\nb", "service": "[red]x"}
    screen.take(Sample(1.0, "device", STATISTICS, [], [], [row]))
    found = "\n".join(lines(screen))
    assert "a\\x1b[31m\\nb of [red]x" in found
    assert "\x1b" not in found


def test_other_rows_are_awaited_and_none_is_said() -> None:
    screen = filled()
    screen.press("tab")
    assert " ..." in lines(screen)
    screen.take(Sample(5.0, "service", STATISTICS, POINTS, [], []))
    assert " no session is live" in lines(screen)
