"""`trioedge new plugin`: each skeleton works, is typed and is in style. Processes try that, for a minute."""

import subprocess
import sys
from pathlib import Path

import pytest

import trioedge as te
from trioedge.cli import main
from trioedge.cli.new.plugin import KINDS, PluginKind

ROOT = Path(__file__).parents[3]


def tool(folder: Path, *arguments: str) -> None:
    """Run a tool in a folder, and show what it finds."""
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes_works_and_is_in_style(kind: PluginKind, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "plugin", f"some-{kind}", "--kind", kind]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    folder = Path(f"trioedge-some-{kind}")
    assert out.splitlines()[0].endswith(" that works: its test passes")
    assert out.splitlines()[-4:] == [
        f"pip install -e ./{folder}",
        f"pytest {folder}",
        "trioedge plugins --check",
        f"trioedge check {folder}/edge.toml",
    ]
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written - {"services.txt"} == {
        "README.md", "edge.toml", "example.py", "pyproject.toml", f"tests/test_some_{kind}.py",
        f"trioedge_some_{kind}/__init__.py", f"trioedge_some_{kind}/py.typed",
    }  # fmt: skip
    for path in written:
        text = (folder / path).read_text()
        assert not any(each in text for each in ("my-part", "my_part", "MyPart", "<<", ">>")), path
    unused = "ARG002"  # a method has the arguments of its protocol
    tool(folder, "ruff", "check", "--config", f"{ROOT}/pyproject.toml", "--ignore", unused, ".")
    tool(folder, "ruff", "check", ".")
    tool(folder, "ruff", "format", "--check", ".")
    tool(folder, "mypy", "--cache-dir", f"{ROOT}/.mypy_cache", ".")


def test_it_writes_into_another_folder_without_a_trial_of_pytest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trioedge.cli.new.plugin.has_pytest", lambda: False)
    (tmp_path / "there").mkdir()
    assert main(["new", "plugin", "some", "--kind", "control", "--to", "there"]) == 0
    out = capsys.readouterr().out
    assert "check_plugin passes; its own test needs pytest and pytest-trio" in out
    assert "pip install -e ./there/trioedge-some\n" in out
    assert (tmp_path / "there/trioedge-some/services.txt").read_text() == "default\n"
    assert main(["new", "plugin", "other", "--kind", "control", "--to", str(tmp_path)]) == 0
    assert f"pip install -e {tmp_path}/trioedge-other\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["Some"], "name 'Some' must be lower-case letters"),
        (["tls"], "'tls' is a stage that ships"),
        (["taken"], "trioedge-taken is there already: nothing was written"),
        (["some", "--to", "nowhere"], "nowhere is no folder"),
        (["some", "--kind", "stage"], 'Invalid value "stage" for --kind. Choose from: "decision", '),
    ],
)
def test_what_cannot_be_written_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("trioedge-taken").mkdir()
    assert main(["new", "plugin", *arguments]) == te.ExitCode.CONFIGURATION
    out, error = capsys.readouterr()
    assert out == ""
    assert says in error
    assert error.count("\n") == 1
    assert [each.name for each in Path().iterdir()] == ["trioedge-taken"]


def test_a_skeleton_that_does_not_work_here_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trioedge.cli.new.plugin.files", lambda *_: {
        "pyproject.toml": '[project]\nname = "a"\nversion = "1"\n[project.entry-points."trioedge.stages"]\n',
        "edge.toml": "[edge.a]\n",
    })  # fmt: skip
    assert main(["new", "plugin", "some"]) == te.ExitCode.FAULT
    out, error = capsys.readouterr()
    assert out == ""
    assert error.splitlines()[0].startswith("trioedge: edge.toml:1: edge.a needs ")
    assert error.splitlines()[-1] == (
        "trioedge: trioedge-some was written, and does not work here: -m trioedge check edge.toml failed, see above"
    )


def test_what_it_writes_can_be_installed_by_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioedge.cli.new.plugin._try", lambda *_: "")  # tried above
    assert main(["new", "plugin", "some"]) == 0
    place = tmp_path / "site"
    tool(
        tmp_path, "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation",
        "--no-index", "--target", str(place), "./trioedge-some",
    )  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", f"{place}:{ROOT}")
    done = subprocess.run(
        [sys.executable, "-m", "trioedge", "check", "trioedge-some/edge.toml"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "  1. Some(since=8, until=18)\n" in done.stdout
    assert (place / "trioedge_some/py.typed").exists()
