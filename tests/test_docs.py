"""What the guide says is so: its blocks are the files they name, or run; its tables are what the code has."""

import importlib
import inspect
import io
import logging
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog
import trio
import trio.testing

import trioedge as te
import trioedge.testing
from trioedge.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
TUTORIAL, HOW_TO_TEST = DOCS / "tutorial/first-edge.md", DOCS / "how-to/test-your-edge.md"
BLOCK = re.compile(r'^```python(?: title="(?P<title>[^"]+)")?[^\n]*\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of Python; its title is the file it is, or is to be."""

    title: str
    text: str

    @property
    def file(self) -> Path | None:
        """The file of this repository that it shows."""
        return ROOT / self.title if "/" in self.title else None


def blocks(page: Path) -> list[Block]:
    return [Block(found["title"] or "", found["text"]) for found in BLOCK.finditer(page.read_text())]


def rows(page: str) -> Iterator[list[str]]:
    """The rows of a page's tables, cell by cell, without their code marks."""
    for line in (DOCS / page).read_text().splitlines():
        if line.startswith("| ") and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def first_cells(page: str, after: str) -> list[str]:
    """The code in the first cells of the table below a heading."""
    text = (DOCS / page).read_text().partition(f"{after}\n")[2]
    table = text[text.index("|") :].partition("\n\n")[0]
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_block_that_names_a_file_is_part_of_it(page: Path) -> None:
    for block in blocks(page):
        if block.file is not None:
            assert block.text in textwrap.dedent(block.file.read_text()), block.title


@pytest.mark.parametrize(
    ("page", "example"),
    [
        ("README.md", "redis_edge"),
        ("docs/index.md", "redis_edge"),
        ("docs/tutorial/first-edge.md", "first_edge"),
        ("docs/how-to/write-a-decision.md", "custom_decision"),
        ("docs/how-to/write-a-middleware.md", "custom_middleware"),
    ],
)
def test_an_example_is_shown_whole(page: str, example: str) -> None:
    assert (ROOT / f"examples/{example}.py").read_text() in [block.text for block in blocks(ROOT / page)]


def run_blocks(page: Path) -> dict[str, Any]:
    """Run what is neither shown from elsewhere nor a program of its own, as a reader who types it all would."""
    names: dict[str, Any] = {"__name__": "guide"}
    for block in blocks(page):
        if block.file is None and block.title != "keyboard.py":
            exec(compile(block.text, f"{name_of(page)} {block.title}", "exec"), names)
    return names


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name_of)
def test_every_other_block_runs(page: Path) -> None:
    run_blocks(page)


def test_the_tests_of_the_guide_pass() -> None:
    tests = [value for name, value in run_blocks(HOW_TO_TEST).items() if name.startswith("test_")]
    assert len(tests) > 5
    for test in tests:
        if inspect.signature(test).parameters:
            clock = trio.testing.MockClock(autojump_threshold=0)
            trio.run(test, clock, clock=clock)
        else:
            trio.run(test)


def test_the_programs_of_the_tutorial_run(tmp_path: Path) -> None:
    for block in blocks(TUTORIAL):
        name = "edge.py" if block.file else block.title
        (tmp_path / name).write_text(block.text.replace("127.0.0.1:8080", "127.0.0.1:0"))
    done = subprocess.run(
        [sys.executable, "keyboard.py"], cwd=tmp_path, input="127.0.0.5\n\n", capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n0 evicted\n" in done.stdout


def outputs(page: str, command: str) -> list[str]:
    """What a page shows below each call of a command."""
    return re.findall(
        rf"^{command}[^\n]*\n```\n+```text\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take back what a command sets up in this process."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.usefixtures("_as_it_was")
def test_the_chains_of_the_tutorial_are_what_check_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_, last = (block.text for block in blocks(TUTORIAL) if block.title != "keyboard.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    shown = []
    for text in (first, last):
        (tmp_path / "edge.py").write_text(text)
        monkeypatch.setattr(sys, "stdout", terminal := Terminal())
        assert main(["check", "edge.py"]) == 0
        shown.append("".join(f"{line.rstrip()}\n" for line in terminal.getvalue().splitlines()))
    assert outputs("tutorial/first-edge.md", "trioedge check edge.py") == shown


@pytest.mark.usefixtures("_as_it_was")
def test_the_chain_of_the_command_line_is_what_check_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["check", "examples/custom_middleware.py"]) == 0
    assert outputs("reference/command-line.md", "trioedge check") == [capsys.readouterr().out]


def test_every_reason_is_explained() -> None:
    explained = [reason for kind in ("Refusals", "Upstream faults", "Ends")
                 for reason in first_cells("reference/reasons.md", f"## {kind}")]  # fmt: skip
    assert explained == [str(reason) for reason in te.Reason]


def test_every_exit_code_is_explained() -> None:
    explained = [(row[0], row[1]) for row in rows("reference/command-line.md") if row[0].isdigit()]
    assert explained == [(str(code.value), f"`{code.name}`") for code in te.ExitCode]


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "check", "demo"):
        main([command, "--help"])
        section = (
            (DOCS / "reference/command-line.md").read_text().split(f"## `trioedge {command}`")[1].split("\n## ")[0]
        )
        options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
        assert set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE)) == options, command


def test_every_event_is_explained() -> None:
    logged = re.compile(r'\.(?:say|notice|fault|critical)\("([^"]+)"')
    events = {event for file in (ROOT / "trioedge").rglob("*.py") for event in logged.findall(file.read_text())}
    assert set(first_cells("reference/command-line.md", "### What is logged")) == events


def limit(where: str) -> object:
    """Look up ``runtime.reactor.BUFFER_BYTES``, or the default in ``Edge(drain_seconds=)``."""
    if argument := re.fullmatch(r"(\w+)\((\w+)=\)", where):
        return inspect.signature(getattr(te, argument[1])).parameters[argument[2]].default
    module, _, constant = where.rpartition(".")
    return getattr(importlib.import_module(f"trioedge.{module}"), constant)


def test_every_limit_is_what_the_code_has() -> None:
    limits = {row[2].strip("`"): row[1].split()[0] for row in rows("reference/limits.md") if row[0] != "what"}
    assert len(limits) > 20
    found = {where: limit(where) for where in limits}
    said = {where: None if value == "None" else float(value.replace(",", "")) for where, value in limits.items()}
    assert said == found


def test_every_public_name_has_its_place_in_the_reference() -> None:
    shown = {name for page in (DOCS / "reference").glob("*.md")
             for name in re.findall(r"^::: trioedge\.([\w.]+)", page.read_text(), re.MULTILINE)}  # fmt: skip
    assert set(te.__all__) - shown == set()
    assert {f"testing.{name}" for name in trioedge.testing.__all__} - shown == set()


def test_the_readme_links_to_what_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
