from pathlib import Path

from trioedge.cli.doctor.finding import read


def test_a_file_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1\xff\n")
    assert read(tmp_path / "file") == "1\ufffd\n"
    assert read(tmp_path / "none") == ""
    assert read(tmp_path) == ""
