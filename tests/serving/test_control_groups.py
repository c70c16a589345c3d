"""Which files of a limit are read; what they mean is tested with memory and processors."""

from pathlib import Path

from trioedge.serving.control_groups import limits


def test_the_files_are_read_from_the_own_group_up_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("9:name=systemd:/x\n4:memory:/a/b\n3:pids:/a\n0::/c\n")
    for name in ("memory/a/b/old", "memory/old", "c/new", "pids/a/old", "old"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
    found = list(limits("memory", "new", "old", cgroups=tmp_path, own=tmp_path / "own"))
    assert found == [("memory/a/b/old",), ("memory/old",), ("c/new",)]


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert list(limits("cpu", "cpu.max", "old", cgroups=tmp_path, own=tmp_path / "none")) == []
