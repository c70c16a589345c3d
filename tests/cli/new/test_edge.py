"""`trioedge new edge`: both skeletons work, are typed and are in style."""

import subprocess
import sys
from pathlib import Path

import pytest

import trioedge as te
from trioedge.cli import main

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("options", "written"),
    [([], {"edge.py"}), (["--toml"], {"edge.toml", "services.toml"})],
)
def test_what_it_writes_works_and_is_in_style(
    options: list[str], written: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "edge", "shop-front", *options]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    file = min(written)
    assert out.splitlines()[0] == "shop-front has an edge that works: its test passes"
    assert out.splitlines()[-2:] == [f"trioedge check shop-front/{file}", f"trioedge run shop-front/{file}"]
    folder = Path("shop-front")
    assert {path.name for path in folder.iterdir()} == written | {"README.md", "test_edge.py", "pytest.ini"}
    assert not any("my-part" in path.read_text() for path in folder.iterdir())
    for tool in (
        ["ruff", "check", "--config", f"{ROOT}/pyproject.toml", "--ignore", "ARG001,D100,D103", "."],  # as our tests
        ["ruff", "format", "--check", "--line-length", "120", "."],
        ["mypy", "--strict", "--cache-dir", f"{ROOT}/.mypy_cache", "."],
    ):
        done = subprocess.run([sys.executable, "-m", *tool], cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr


def test_without_pytest_the_edge_alone_is_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trioedge.cli.new.edge.has_pytest", lambda: False)
    assert main(["new", "edge", "shop"]) == 0
    says = "shop has an edge that works: trioedge check edge.py passes; its test needs pytest and pytest-trio\n"
    assert capsys.readouterr().out.startswith(says)


@pytest.mark.parametrize(
    ("name", "says"), [("Shop", "name 'Shop' must be lower-case letters"), ("taken", "taken is there already")]
)
def test_what_cannot_be_written_is_one_line(name: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").mkdir()
    assert main(["new", "edge", name]) == te.ExitCode.CONFIGURATION
    out, error = capsys.readouterr()
    assert out == ""
    assert says in error
    assert error.count("\n") == 1
