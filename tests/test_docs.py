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
from tests.support.policies import DailyQuota, Hours
from trioedge.cli import main
from trioedge.cli.parser import COMMANDS
from trioedge.control.file import read_services
from trioedge.plugins import BUILT_IN, GROUPS
from trioedge.services.policy import FATES
from trioedge.services.stage_keys import StageKeys
from trioedge.testing import open_edge

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
TUTORIAL = DOCS / "tutorial/first-edge.md"
CONNECT, CHANGE = DOCS / "how-to/connect-a-control-plane.md", DOCS / "how-to/change-limits-live.md"
BLOCK = re.compile(
    r'^```(?P<kind>python|toml)(?: title="(?P<title>[^"]+)")?[^\n]*\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL
)
TEST = re.compile(r'^```python title="test_\w+.py"', re.MULTILINE)


KEYS = StageKeys([Hours, DailyQuota, te.Destinations])
"""Tables of stages that a page may show."""


LIVE = [name for name, place in COMMANDS.items() if place.startswith(("live.", "top."))]
"""Commands that ask a serving edge."""


class Block(NamedTuple):
    """A block of Python or TOML; its title is the file it is, or is to be."""

    kind: str
    title: str
    text: str

    @property
    def file(self) -> Path | None:
        """The file of this repository that it shows."""
        return ROOT / self.title if "/" in self.title else None


def blocks(page: Path, *kinds: str) -> list[Block]:
    """The blocks of a page: those of Python, unless other kinds are named."""
    found = [Block(each["kind"], each["title"] or "", each["text"]) for each in BLOCK.finditer(page.read_text())]
    return [block for block in found if block.kind in (kinds or ("python",))]


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
    for block in blocks(page, "python", "toml"):
        if block.file is not None:
            assert block.text in textwrap.dedent(block.file.read_text()), block.title


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=name_of)
def test_a_services_file_can_be_read(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, "toml"):
        if "[services." in block.text and not block.title.startswith("plugins/"):  # which the plugin's tests read
            (tmp_path / "services.toml").write_text(block.text)
            read_services(tmp_path / "services.toml", KEYS)  # a page may show the table of a stage


@pytest.mark.parametrize(
    ("page", "example"),
    [
        ("README.md", "redis_edge"),
        ("docs/index.md", "redis_edge"),
        ("docs/tutorial/first-edge.md", "first_edge"),
        ("docs/how-to/balance.md", "balanced"),
        ("docs/how-to/chain-proxies.md", "via"),
        ("docs/how-to/write-a-decision.md", "custom_decision"),
        ("docs/how-to/write-a-handshake.md", "custom_handshake"),
        ("docs/how-to/write-a-middleware.md", "custom_middleware"),
        ("docs/how-to/write-an-observer.md", "custom_observer"),
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


@pytest.mark.parametrize("page", [page for page in PAGES if TEST.search(page.read_text())], ids=name_of)
def test_the_tests_of_the_guide_pass(page: Path) -> None:
    tests = [value for name, value in run_blocks(page).items() if name.startswith("test_")]
    assert tests
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
        [sys.executable, "keyboard.py"],
        cwd=tmp_path,
        input="127.0.0.5\nnobody\n\n",
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0
    assert [line.split()[3] for line in done.stderr.splitlines()] == ["listening", "draining", "stopped"]  # its log
    assert "\n0 evicted\n" in f"\n{done.stdout}"
    assert "'nobody' is not an" in done.stdout


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


def shell(page: Path, command: str) -> list[str]:
    """The commands of a page's shell blocks that begin like this, each with the lines that continue it."""
    return re.findall(rf"^{command}(?:[^\n]*\\\n)*[^\n]*$", page.read_text(), re.MULTILINE)


@pytest.mark.usefixtures("_as_it_was")
def test_the_differences_of_the_guide_are_what_diff_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for command in shell(CHANGE, "sed"):
        subprocess.run(command, shell=True, check=True)
    printed = []
    for command in shell(CHANGE, "trioedge diff examples"):
        main(command.split()[1:])
        printed.append("".join(capsys.readouterr()))
    assert len(printed) == 2
    assert outputs("how-to/change-limits-live.md", "trioedge diff examples") == printed


def test_every_fate_is_explained() -> None:
    explained = {row[0].strip("`"): row[1].strip("`") for row in rows("how-to/change-limits-live.md")}
    assert {field: fate for field, fate in explained.items() if field != "field"} == FATES


async def test_the_login_of_the_guide(autojump_clock: trio.testing.MockClock) -> None:
    names = run_blocks(CONNECT)
    shop = te.Settings(te.Policy(outbound="tcp://203.0.113.7:9000"), te.Credentials(te.hash_password("secret")))
    await names["control"].put("shop", shop)
    async with open_edge(names["edge"]) as world:
        client = await world.connect()
        await client.send(b"AUTH shop secret\n")
        await client.send(b"hello")
        assert await client.receive(5) == b"hello"
        assert client.session.service.name == "shop"
        for line in (b"AUTH shop wrong\n", b"AUTH cafe secret\n", b"nonsense\n", b"x" * 256):
            stranger = await world.connect()
            await stranger.send(line)
            assert (await stranger.ended()).reason is te.Reason.POLICY


async def test_the_control_plane_of_the_guide(autojump_clock: trio.testing.MockClock) -> None:
    said: list[object] = [
        {"default": te.Settings()},
        OSError("gone"),
        {"default": te.Settings(te.Policy(preconnect=1))},
    ]

    async def fetch() -> Any:
        if isinstance(what := said.pop(0), OSError):
            raise what
        return what

    edge = te.Edge(
        "tcp://127.0.0.1:1", [], te.Forward("tcp://127.0.0.1:2"), control=run_blocks(CONNECT)["Polling"](fetch)
    )
    async with open_edge(edge):
        assert (len(edge.services), edge.control_state().error) == (1, "")
        await trio.sleep(11)
        assert edge.control_state().error == "gone"
        await trio.sleep(8)
        assert edge.control_state().error == "gone"
        await trio.sleep(2)
        assert "needs a destination" in edge.control_state().error


def test_every_reason_is_explained() -> None:
    explained = [reason for kind in ("Refusals", "Upstream faults", "Ends")
                 for reason in first_cells("reference/reasons.md", f"## {kind}")]  # fmt: skip
    assert explained == [str(reason) for reason in te.Reason]


def test_every_exit_code_is_explained() -> None:
    explained = [(row[0], row[1]) for row in rows("reference/command-line.md") if row[0].isdigit()]
    assert explained == [(str(code.value), f"`{code.name}`") for code in te.ExitCode]


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    commands = "run", "check", "diff", "demo", "doctor", "hash", "schema", "plugins", "new plugin", "new edge"
    for command in commands:
        main([*command.split(), "--help"])
        section = (
            (DOCS / "reference/command-line.md").read_text().split(f"## `trioedge {command}`")[1].split("\n## ")[0]
        )
        options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
        assert set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE)) == options, command


@pytest.mark.parametrize("command", LIVE)
def test_every_option_of_a_live_command_is_explained(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([command, "--help"])
    shared = {"--help", "--edge", "--token-file", "--json"}
    section = (DOCS / "reference/live-commands.md").read_text().split(f"## `trioedge {command}`")[1].split("\n## ")[0]
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - shared
    assert set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE)) == options


def test_the_options_of_all_live_commands_are_explained() -> None:
    assert first_cells("reference/live-commands.md", "## Which edge") == [
        "--edge EDGE", "--token-file FILE", "--json",
    ]  # fmt: skip
    text = (DOCS / "reference/live-commands.md").read_text()
    assert re.findall(r"^## `trioedge ([a-z-]+)`$", text, re.MULTILINE) == LIVE


def test_every_event_is_explained() -> None:
    logged = re.compile(r'\.(?:say|notice|fault|info|warning|error|critical)\(\s*"([^"]+)"')
    events = {event for file in (ROOT / "trioedge").rglob("*.py") for event in logged.findall(file.read_text())}
    events |= {"session refused", "session ended", "log lines dropped"}  # written in another way
    assert set(first_cells("reference/command-line.md", "### What is logged")) == events


def limit(where: str) -> object:
    """Look up ``loop.reactor.BUFFER_BYTES``, or the default in ``Edge(drain_seconds=)``."""
    if argument := re.fullmatch(r"(\w+)\((\w+)=\)", where):
        return inspect.signature(getattr(te, argument[1])).parameters[argument[2]].default
    module, _, constant = where.rpartition(".")
    return getattr(importlib.import_module(f"trioedge.{module}"), constant)


def test_every_part_that_ships_has_its_name_in_the_reference() -> None:
    named = {row[0]: re.findall(r"[\w-]+", row[1]) for row in rows("reference/plugins.md") if row[0].endswith("s")}
    assert {kind: named[f"{kind}s"] for kind, names in BUILT_IN.items() if names} == {
        kind: list(names) for kind, names in BUILT_IN.items() if names
    }


def test_the_groups_of_entry_points_are_those_of_the_code() -> None:
    assert [row[1].strip("`") for row in rows("reference/plugins.md") if "trioedge." in row[1]] == [*GROUPS.values()]


def test_every_limit_is_what_the_code_has() -> None:
    limits = {row[2].strip("`"): row[1].split()[0] for row in rows("reference/limits.md") if row[0] != "what"}
    assert len(limits) > 20
    found = {where: limit(where) for where in limits}
    said = {where: None if value == "None" else float(value.replace(",", "")) for where, value in limits.items()}
    assert said == found


def test_every_public_name_has_its_place_in_the_reference() -> None:
    shown = [name for page in (DOCS / "reference").rglob("*.md")
             for name in re.findall(r"^::: trioedge\.([\w.]+)", page.read_text(), re.MULTILINE)]  # fmt: skip
    public = [*te.__all__, *(f"testing.{name}" for name in trioedge.testing.__all__)]
    assert {name: shown.count(name) for name in public} == dict.fromkeys(public, 1)


def test_the_readme_links_to_what_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
