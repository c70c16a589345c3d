import os
from pathlib import Path

import pytest

from trioedge_geoip.changes import Changes, Identity, identity_of

A, B, C = (1, 1, 1, 1, 1), (1, 2, 1, 1, 1), (1, 3, 1, 1, 1)


@pytest.mark.parametrize(
    ("looks", "counted"),
    [
        ([(1, A), (2, A), (9, A)], []),
        ([(1, B), (2, B), (3, B), (4, B)], [3]),
        ([(1, B), (2, C), (3, C), (4, C), (5, C)], [4]),  # it changes until 2 s
        ([(1, B), (2, A), (3, B), (4, B), (5, B)], [5]),  # it was as before for a moment
        ([(1, None), (2, None), (3, None), (4, None), (5, A), (6, A), (7, A)], [3, 7]),  # gone, and there again
        ([(1, B), (9, B), (10, C), (12, C)], [9, 12]),
    ],
)
def test_a_file_counts_once_it_has_stayed_the_same(looks: list[tuple[float, Identity]], counted: list[float]) -> None:
    changes = Changes(A)
    assert [now for now, found in looks if changes.count(found, now)] == counted


def test_a_file_that_was_not_read_counts_again_after_half_a_minute() -> None:
    changes = Changes(A)
    assert [now for now in range(1, 9) if changes.count(B, now)] == [3]
    changes.retry(3)
    assert [now for now in range(4, 99) if changes.count(B, now)] == [33]


def test_a_file_that_changes_before_it_is_read_again_counts_at_once() -> None:
    changes = Changes(A)
    changes.retry(0)
    assert [now for now in range(1, 99) if changes.count(B, now)] == [3]


def test_the_identity_of_a_file_differs_after_every_change(tmp_path: Path) -> None:
    path, other = tmp_path / "table", tmp_path / "other"
    found = [identity_of(path)]
    path.write_bytes(b"one")
    found.append(identity_of(path))
    assert identity_of(path) == found[-1]
    path.write_bytes(b"longer")
    found.append(identity_of(path))
    os.utime(path, (0, 0))
    found.append(identity_of(path))
    other.write_bytes(b"longer")
    other.replace(path)
    found.append(identity_of(path))
    assert found[0] is None
    assert len(set(found)) == 5
