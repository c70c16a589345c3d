"""The units of systemd: what systemd itself says of them, and that they fit the exit codes and the edge beside them."""

import os
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

import trioedge as te
from tests.support.programs import output
from trioedge.cli import main

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples/systemd"
SERVICE = FOLDER / "trioedge@.service"

MAX_EXPOSURE = 15
"""Of 100, in the review of `systemd-analyze security`; with systemd 252 it is 13, which the guide says as 1.3 of 10."""


def keys(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found[name].append(value)
    return found


@pytest.mark.peer("systemd-analyze")
async def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    program = tmp_path / "trioedge"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    service = tmp_path / SERVICE.name
    service.write_text(service.read_text().replace("/opt/trioedge/bin/trioedge", str(program)))
    units = [str(tmp_path / f"trioedge@redis.{kind}") for kind in ("service", "socket")]
    os.environ["SYSTEMD_UNIT_PATH"] = f"{tmp_path}:"
    try:
        assert await output("systemd-analyze", "verify", "--man=no", *units) == ""
    finally:
        del os.environ["SYSTEMD_UNIT_PATH"]


@pytest.mark.peer("systemd-analyze")
async def test_a_unit_is_exposed_as_little_as_the_guide_says() -> None:
    limit = f"--threshold={MAX_EXPOSURE}"  # beyond it the program fails
    review = await output("systemd-analyze", "security", "--offline=yes", limit, "--no-pager", str(SERVICE))
    assert " OK " in review.splitlines()[-1]
    assert "rates it 1.3" in (ROOT / "docs/how-to/run-in-production.md").read_text()


def test_the_exit_codes_in_the_unit_are_those_of_the_process() -> None:
    unit = keys(SERVICE)
    kept_down = {te.ExitCode(int(code)) for code in unit["RestartPreventExitStatus"][0].split()}
    assert kept_down == {te.ExitCode.CONFIGURATION, te.ExitCode.LISTEN}
    assert unit["SuccessExitStatus"] == [f"{te.ExitCode.CUT:d}"]
    assert unit["Type"] == ["notify"]


def test_the_socket_has_the_name_that_the_edge_listens_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert keys(FOLDER / "trioedge@.socket")["FileDescriptorName"] == ["%i"]
    assert main(["check", str(FOLDER / "redis.toml")]) == 0
    assert "listen: systemd:redis\n" in capsys.readouterr().out
    assert keys(FOLDER / "trioedge@redis.socket.d/listen.conf")["ListenStream"]


def test_each_option_that_the_unit_names_is_one_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    _, command, *options, target = keys(SERVICE)["ExecStart"][0].split()
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert all(option in said for option in options if option.startswith("--"))
    assert target == "/etc/trioedge/%i.toml"
