"""`trioedge man`: a page that roff takes, with every command and option of the command line."""

from pathlib import Path

import pytest

from tests.support.programs import output
from trioedge.cli import main
from trioedge.cli.client.which import INTERRUPTED
from trioedge.cli.manual import CODES, page
from trioedge.cli.parser import COMMANDS, all_commands
from trioedge.process.run import ExitCode


@pytest.fixture
def text(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["man"]) == 0
    return capsys.readouterr().out.replace(r"\-", "-")


def test_each_command_has_its_usage_its_help_and_its_options(text: str) -> None:
    for name in COMMANDS:
        assert f".SS trioedge {name}" in text
    assert ".SS trioedge new plugin NAME [OPTION]...\n" in text
    assert ".SS trioedge diff OLD [NEW] [OPTION]...\n" in text
    assert ".TP\n\\fB--log-level debug|info|warning|error\\fR\nThe lowest level that is logged" in text
    assert ".TP\n\\fB--fix\\fR\nPut the fq queue on interfaces" in text
    assert "Args:" not in text


def test_each_exit_code_is_explained() -> None:
    assert set(CODES) == {*ExitCode, INTERRUPTED}


def test_the_page_names_its_version() -> None:
    assert '"trioedge 9.8.7"' in page(all_commands(), "9.8.7")


@pytest.mark.peer("mandoc")
async def test_a_formatter_finds_no_error_and_shows_the_page(text: str, tmp_path: Path) -> None:
    (tmp_path / "trioedge.1").write_text(text)
    assert await output("mandoc", "-T", "lint", "-W", "error", tmp_path / "trioedge.1") == ""
    shown = await output("mandoc", "-T", "utf8", tmp_path / "trioedge.1")
    assert "\\" not in shown.replace("\\e", "")
    assert "file.toml[:name]" in shown
