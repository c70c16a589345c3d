import pytest

from trioedge.cli import main


@pytest.mark.parametrize("arguments", [["new"], ["new", "--help"]])
def test_its_help_names_both_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    out, error = capsys.readouterr()
    assert error == ""
    assert "plugin  Write a plugin that works" in out
    assert "edge    Write an edge that works" in out


def test_another_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "stage"]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert "stage" in error
    assert error.count("\n") == 1
