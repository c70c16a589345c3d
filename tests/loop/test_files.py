"""The identity of a file: the same as long as it is, and another one after each write."""

import os
from pathlib import Path

from trioedge.loop.files import identity_of


def test_a_file_that_is_not_touched_has_one_identity(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a")
    assert identity_of(tmp_path / "file") == identity_of(tmp_path / "file") is not None


def test_a_write_a_rename_and_another_target_of_a_link_are_noticed(tmp_path: Path) -> None:
    path, other, link = tmp_path / "file", tmp_path / "other", tmp_path / "link"
    path.write_text("a")
    other.write_text("b")
    link.symlink_to(path)
    seen = [identity_of(link)]
    os.utime(path, ns=(1, 1))
    seen.append(identity_of(link))
    path.write_text("longer")
    seen.append(identity_of(link))
    link.unlink()
    link.symlink_to(other)
    seen.append(identity_of(link))
    other.rename(path)
    seen.append(identity_of(path))
    assert len(set(seen[:4])) == 4
    assert seen[4] not in seen[:3]


def test_a_missing_file_has_none(tmp_path: Path) -> None:
    assert identity_of(tmp_path / "file") is None
    assert identity_of(tmp_path / "file" / "in" / "none") is None
