"""A TOML file of services as the lines of a snapshot."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trioedge.control import toml_lines

HEAD_KEYS = {"version", "full"}
DEEP = "its lists and tables are nested too deeply: a service has keys, and tables of keys"
NO_TABLE = "is no table: for no services, write an empty [services]"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in toml_lines.toml_lines(path)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "services.toml"


def test_each_service_is_a_line_between_a_head_and_an_end(path: Path) -> None:
    path.write_text('[services.shop]\nsession_rate = 20\naccept = ["10.0.0.0/8"]\n[services."a b"]\n')
    head, *lines = lines_of(path)
    assert head.keys() == HEAD_KEYS
    assert head["full"] is True
    assert lines == [
        {"name": "shop", "session_rate": 20, "accept": ["10.0.0.0/8"]},
        {"name": "a b"},
        {"end": 2},
    ]


def test_the_version_is_the_same_for_the_same_content(path: Path) -> None:
    versions = []
    for text in ("[services]", "[services.shop]", "[services]"):
        path.write_text(text)
        versions.append(lines_of(path)[0]["version"])
    assert versions[0] == versions[2] != versions[1]


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        ("", ["has no table [services]: for no services, write an empty [services]"]),
        ("services = 3", ["services = 3 is no table: for no services, write an empty [services]"]),
        ("bogus = 1\n[services]\n[more]", ["has no key 'bogus', 'more': there are services and allow_removal"]),
        ("[services]\nshop = 3", ["services.shop = 3 must be a table"]),
        (
            "[services]\nallow_removal = true",
            ["services.allow_removal = True must stand above all tables, and not in one"],
        ),
        (
            "[services.shop]\nallow_removal = true",
            ["services.shop.allow_removal = True must stand above all tables, and not in one"],
        ),
        ('[services.shop]\nname = "cafe"', ["services.shop has no key 'name': the table has it"]),
        ("[services.shop]\na = 1\na = 2\n", ["is not TOML: Cannot overwrite a value (at line 3, column 6)"]),
        (b"# \xff", ["is not TOML: it is not in UTF-8"]),
    ],
)
def test_every_fault_of_a_file_is_a_line(path: Path, content: str | bytes, faults: list[str]) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert [line["fault"] for line in lines_of(path) if "fault" in line] == faults


def test_lists_nested_too_deeply_are_a_fault(path: Path) -> None:
    path.write_text("a = " + "[" * 100_000)
    (line,) = lines_of(path)
    assert line["fault"] == f"is not TOML for services: {DEEP}"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (f"[services.a{'.b' * 3000}]", f"services.a: {DEEP}"),
        (f"[services]\na{'.b' * 3000} = 1", f"services.a: {DEEP}"),
        (f"[services.a]\nb = {{c{'.d' * 3000} = 1}}", f"services.a: {DEEP}"),
        (f"[[services.a]]\nb{'.c' * 3000} = 1", "services.a = ... must be a table"),
        (f"[[services]]\nb{'.c' * 3000} = 1", f"services = ... {NO_TABLE}"),
        (
            f"[services.a]\nb = 0x{'f' * 5000}",
            "services.a has a whole number of more than 64 bits: write a smaller one",
        ),
        (f"services = 0x{'f' * 5000}", f"services = ... {NO_TABLE}"),
        (f"[services.a]\nb = {'[' * 3000}{']' * 3000}", f"is not TOML for services: {DEEP}"),
        (f"[services.a]\nb = {'{c = ' * 3000}1{'}' * 3000}", f"is not TOML for services: {DEEP}"),
    ],
)
def test_a_value_that_cannot_be_a_line_is_a_fault(path: Path, content: str, fault: str) -> None:
    path.write_text(content)
    lines = lines_of(path)
    assert [line["fault"] for line in lines if "fault" in line] == [fault]
    assert "is not TOML" in fault or lines[-1] == {"end": 0}, "the reader must not say that lines are missing"


def test_a_missing_file_is_a_fault(path: Path) -> None:
    assert lines_of(path) == [{"fault": "cannot be read: No such file or directory"}]


def test_a_missing_file_with_a_relative_path_is_reported_with_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lines_of(Path("nowhere.toml")) == [{"fault": f"cannot be read in {tmp_path}: No such file or directory"}]


def test_a_service_with_a_fault_has_its_other_faults_as_well(path: Path) -> None:
    path.write_text('[services.shop]\nname = "cafe"\nsession_rate = 0\n')
    assert lines_of(path)[2:] == [{"name": "shop", "session_rate": 0}, {"end": 1}]


def test_a_date_becomes_text(path: Path) -> None:
    path.write_text("[services.shop]\nsession_rate = 2026-11-23\nmax_sessions = nan\n")
    line = lines_of(path)[1]
    assert line["session_rate"] == "2026-11-23"
    assert line["max_sessions"] != line["max_sessions"]


def test_as_a_program_it_prints_the_same_lines(path: Path) -> None:
    path.write_text("[services.shop]\nsession_rate = 20\n")
    command = [sys.executable, "-IS", toml_lines.__file__, os.fspath(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.splitlines() == list(toml_lines.toml_lines(path))
    assert done.stderr == ""
