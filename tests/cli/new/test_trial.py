from pathlib import Path

import pytest

from trioedge.cli.new.trial import TrialError, environment, has_pytest, try_out

PROJECT = """\
[project]
name = "trioedge-my-part"
version = "0.1.0"

[project.entry-points."trioedge.stages"]
my-part = "my_part:MyPart"
"""


def test_the_tests_of_skeletons_can_run_here() -> None:
    assert has_pytest()


def test_the_package_of_a_folder_is_installed_for_a_process(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "my_part.py").write_text("class MyPart:\n    def decide(self, session): ...\n")
    code = "from trioedge.plugins import find, Kind; print(find(Kind.STAGE, 'my-part'))"
    with environment(tmp_path) as env:
        assert try_out(tmp_path, env, "-c", code) == "<class 'my_part.MyPart'>\n"
    assert not (tmp_path / "__pycache__").exists()


def test_without_a_package_trioedge_alone_is_there(tmp_path: Path) -> None:
    with environment() as env:
        assert try_out(tmp_path, env, "-c", "import trioedge; print(3)") == "3\n"


def test_the_end_of_a_failure_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with environment() as env, pytest.raises(TrialError) as caught:
        try_out(tmp_path, env, "-c", "for n in range(99): print(n)\nraise SystemExit(1)")
    assert str(caught.value).startswith(f"{tmp_path} was written, and does not work here: -c for n")
    assert capsys.readouterr() == ("", "".join(f"{n}\n" for n in range(59, 99)))


def test_a_trial_without_end_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioedge.cli.new.trial.SECONDS", 0.01)
    with environment() as env, pytest.raises(TrialError, match=r"took longer than 0\.01 s"):
        try_out(tmp_path, env, "-c", "import time; time.sleep(60)")
