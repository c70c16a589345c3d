from pathlib import Path

import pytest

import trioedge as te
from trioedge.cli import main
from trioedge.cli.parser import call


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["check"], "TARGET"),
        (["check", "x.py", "--foo"], "--foo"),
        (["check", "x.py", "y.py"], "y.py"),
        (["chekc", "x.py"], "chekc"),
        (["run", "x.py", "--log-format", "xml"], "--log-format"),
        (["run", "x.py", "--drain-seconds", "soon"], "--drain-seconds"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == te.ExitCode.CONFIGURATION
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("trioedge: ")
    assert named in error
    assert error.endswith("See trioedge --help\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "--help"], ["check", "--help"], ["demo", "--help"]])
def test_help_goes_to_stdout(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    out, error = capsys.readouterr()
    assert out.startswith("Usage: trioedge")
    assert error == ""


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out[0].isdigit()


def test_a_command_says_the_same_with_and_without_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    Path("edge.py").write_text(
        "import trioedge as te\nedge = te.Edge('tcp://127.0.0.1:0', [], te.Forward('tcp://127.0.0.1:1'))\n"
    )
    assert main(["check", "edge.py"]) == 0
    direct = capsys.readouterr()
    assert call(["check", "edge.py"]) == 0
    assert capsys.readouterr() == direct
    assert "Forward('tcp://127.0.0.1:1'" in direct.out
