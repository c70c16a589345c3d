"""`trioedge plugins`: the list of those that are installed, and their checks."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

import trioedge as te
from tests.support.packages import HOURS, Packages, plugin
from trioedge.cli import main
from trioedge.cli.plugins import NONE_INSTALLED, uses_of
from trioedge.plugins import Kind, installed

GOOD = '''\
import trioedge as te

class Hours:
    """Let sessions in."""
    def __init__(self, since: int = 8) -> None:
        """Set the hour.

        Args:
            since: 0 to 23.
        """
        te.check_count("Hours", "since", since, minimum=0, maximum=23)
    def __repr__(self): return "Hours()"
    def decide(self, session): return te.CONTINUE
'''

USES = """\
[edge.a]
listen = "tcp://127.0.0.1:1"
stages = [{ use = "hours" }, { use = "detect", otherwise = { use = "odd" } }]
endpoint = { use = "forward", to = "tcp://127.0.0.1:2", outbound = "out" }

[outbound.out]
use = "one:warp"
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _few_packages(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins of this machine's venv are no part of the tests."""
    others = set(installed())
    monkeypatch.setattr("trioedge.cli.plugins.installed", lambda: [each for each in installed() if each not in others])


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, error = capsys.readouterr()
    assert error == ""
    return out.splitlines()


def test_without_a_plugin_it_says_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins"]) == 0
    assert lines(capsys) == [NONE_INSTALLED]
    assert main(["plugins", "--check"]) == 0
    assert lines(capsys) == [NONE_INSTALLED]


def test_in_a_pipe_each_plugin_is_a_line_and_none_is_imported(
    packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    packages.add("trioedge-hours", entry_points=plugin("stages", "hours", "hours:Hours"), hours="1 / 0")
    packages.add("trioedge-otel", "2.1", entry_points=plugin("observers", "otel", "otel:Otel"))
    assert main(["plugins"]) == 0
    assert lines(capsys) == [
        "stage hours hours:Hours trioedge-hours 0.1.0",
        "observer otel otel:Otel trioedge-otel 2.1",
    ]
    assert "hours" not in sys.modules


def test_a_name_that_several_parts_have_is_shown_with_its_package(
    packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        packages.add(name, entry_points=plugin("outbounds", "warp", f"{name}:Warp") + f"direct = {name}:Direct\n")
    assert main(["plugins"]) == 0
    assert [line.split()[1] for line in lines(capsys)] == ["one:direct", "two:direct", "one:warp", "two:warp"]


def test_it_says_which_plugins_a_file_uses(packages: Packages, capsys: pytest.CaptureFixture[str]) -> None:
    Path("edge.toml").write_text(USES)
    entries = plugin("stages", "hours", "a:B") + "odd = a:C\nunused = a:D\n" + plugin("endpoints", "hours", "a:E")
    packages.add("parts", entry_points=entries)
    for name in ("one", "two"):
        packages.add(name, entry_points=plugin("outbounds", "warp", f"{name}:Warp"))
    assert main(["plugins", "edge.toml"]) == 0
    assert [(line.split()[1], line.split()[-1]) for line in lines(capsys)] == [
        ("hours", "used"), ("odd", "used"), ("unused", "unused"), ("hours", "unused"), ("one:warp", "used"),
        ("two:warp", "unused"),
    ]  # fmt: skip


def test_on_a_terminal_it_is_a_table(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    packages.add("trioedge-hours", entry_points=plugin("stages", "hours", "hours:Hours"))
    Path("edge.toml").write_text(USES)
    shown = []
    for arguments in (["plugins"], ["plugins", "edge.toml"]):
        monkeypatch.setattr(sys, "stdout", terminal := Terminal())
        assert main(arguments) == 0
        shown.append([line.split() for line in terminal.getvalue().splitlines()])
    head = ["kind", "use", "class", "package", "version"]
    row = ["stage", "hours", "hours:Hours", "trioedge-hours", "0.1.0"]
    assert [shown[0][0], shown[0][2]] == [head, row]
    assert [shown[1][0], shown[1][2]] == [[*head, "this", "file"], [*row, "used"]]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("edge.py", "", "edge.py is no edge.toml: plugins are used by FILE.toml"),
        ("no.toml", None, "no.toml cannot be read: No such file or directory"),
        ("deep.toml", f"edge.a{'.a' * 1_000} = 1", "deep.toml: its tables are nested too deeply"),
        ("bad.toml", "[edge", "bad.toml: expected ']'"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    name: str, text: str | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        Path(name).write_text(text)
    assert main(["plugins", name]) == te.ExitCode.CONFIGURATION
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"trioedge: {says}")
    assert error.count("\n") == 1


def test_tables_of_wrong_types_use_nothing() -> None:
    tables = {"edge": {"a": 3, "b": {"stages": {"use": 7}, "endpoint": "x", "control": [3]}}, "outbound": []}
    assert list(uses_of(tables)) == []
    assert list(uses_of({"edge": {"a": {"observers": [{"use": "otel"}], "control": {"use": "http"}}}})) == [
        (Kind.OBSERVER, "otel"),
        (Kind.CONTROL, "http"),
    ]


def test_a_plugin_is_used_however_deep_it_stands() -> None:
    tables: dict[str, Any] = {"use": "hours"}
    for _ in range(5_000):
        tables = {"inner": tables}
    assert list(uses_of({"edge": {"a": tables}})) == [(Kind.STAGE, "hours")]


def test_a_check_names_each_plugin_and_its_fault(packages: Packages, capsys: pytest.CaptureFixture[str]) -> None:
    packages.add("good", entry_points=plugin("stages", "good", "good:Hours"), good=GOOD)
    packages.add("bad", entry_points=plugin("stages", "bad", "bad:Hours"), bad=HOURS)
    packages.add("broken", entry_points=plugin("stages", "broken", "broken:X"), broken="import not_there")
    needy = GOOD.replace("since: int = 8", "since: int")
    packages.add("needy", entry_points=plugin("stages", "needy", "needy:Hours"), needy=needy)
    picky = GOOD.replace("since, minimum=0", "since - 8, minimum=1")
    packages.add("picky", entry_points=plugin("stages", "picky", "picky:Hours"), picky=picky)
    fails = GOOD.replace("te.check_count", "te.not_there")
    packages.add("fails", entry_points=plugin("stages", "fails", "fails:Hours"), fails=fails)
    assert main(["plugins", "--check"]) == te.ExitCode.FAULT
    said = dict(line.split(": ", 1) for line in lines(capsys)[:-1])
    assert said["ok      stage good"] == "good 0.1.0"
    assert said["failed  stage bad"].startswith("bad 0.1.0: the repr <bad.Hours object at")
    assert said["failed  stage broken"].startswith("broken 0.1.0 cannot be imported: it needs the module 'not_there'")
    assert said["ok      stage needy"] == "needy 0.1.0, but for what needs since"
    assert said["ok      stage picky"].startswith("picky 0.1.0, but for what needs arguments: Hours(")
    assert said["failed  stage fails"].startswith("fails 0.1.0 raised AttributeError(")


def test_a_check_of_a_file_imports_what_the_file_uses_alone(
    packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("edge.toml").write_text(USES)
    packages.add("good", entry_points=plugin("stages", "hours", "good:Hours"), good=GOOD)
    packages.add("other", entry_points=plugin("stages", "other", "other:X"), other="raise SystemExit")
    assert main(["plugins", "edge.toml", "--check"]) == 0
    assert lines(capsys) == ["ok      stage hours: good 0.1.0", "1 plugin, none failed"]
    assert "other" not in sys.modules
