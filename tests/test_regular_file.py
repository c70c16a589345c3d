import os
from pathlib import Path

import pytest

from tests.support.open_files import open_files
from trioedge.regular_file import read_regular


def test_a_file_is_read_whole_or_as_far_as_shows_that_it_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert [read_regular(path, most) for most in (6, 5, 4)] == [b"12345", b"12345", b"12345"]
    assert read_regular(path, 3) == b"1234"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fifo", "it is no regular file"),
        ("/dev/zero", "it is no regular file"),
        ("folder", "Is a directory"),
        ("missing", "No such file or directory"),
        ("a\0b", "no path has a NUL in it"),
        ("a" * 5_000, "File name too long"),
    ],
)
def test_what_is_no_regular_file_is_refused_at_once(name: str, says: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    before = open_files()
    with pytest.raises(OSError) as error:  # noqa: PT011 - its words are compared
        read_regular(tmp_path / name, 10)
    assert error.value.strerror == says
    assert open_files() == before
