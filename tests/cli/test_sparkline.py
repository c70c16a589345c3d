import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.cli.sparkline import BLOCKS, sparkline


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([], 10, ""),
        ([1], 0, ""),
        ([0, 0], 10, "▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, BLOCKS),
        ([5], 8, "█"),
        ([0, 7, 0, 0, 0, 7], 3, "█▁█"),
        ([7, 0, 0, 0, 7], 3, "█▁█"),
    ],
)
def test_the_highest_value_is_a_full_block(values: list[int], width: int, line: str) -> None:
    assert sparkline(values, width) == line


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=400), st.integers(1, 200))
def test_a_line_fits_and_has_the_highest_value_in_it(values: list[float], width: int) -> None:
    line = sparkline(values, width)
    assert 1 <= len(line) <= min(width, len(values))
    assert ("█" in line) == (max(values) > 0)
