"""The Containerfile: what can be said of it without a registry, and that what it copies is enough to build trioedge."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import pytest

from trioedge.cli import main

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples/container"
KNOWN = {"FROM", "COPY", "RUN", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


class Instruction(NamedTuple):
    name: str
    words: str


def stages() -> list[list[Instruction]]:
    """The instructions of each stage of the build."""
    text = re.sub(r"^#.*\n", "", (FOLDER / "Containerfile").read_text(), flags=re.MULTILINE)
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n", "", text).splitlines():
        if not line.strip():
            continue
        name, _, words = line.partition(" ")
        assert name in KNOWN
        if name == "FROM":
            found.append([])
        found[-1].append(Instruction(name, words))
    return found


def words_of(name: str) -> str:
    """What the last stage says, once."""
    (words,) = (each.words for each in stages()[-1] if each.name == name)
    return words


def test_the_image_is_of_two_stages_of_one_python_and_the_last_one_builds_nothing() -> None:
    build, last = stages()
    assert build[0].words == f"{last[0].words} AS build"
    assert "COPY" in {each.name for each in build}
    commands = " ".join(each.words for each in last if each.name == "RUN")
    assert "pip uninstall" in commands
    assert not re.search(r"pip install|apt-get|gcc", commands)
    (copied,) = (each.words.split() for each in last if each.name == "COPY" and "--from=build" in each.words)
    assert copied == ["--from=build", "/opt/trioedge", "/opt/trioedge"]
    assert "venv --without-pip /opt/trioedge" in next(each.words for each in build if each.name == "RUN")


def test_the_process_is_not_root_s_and_its_user_is_a_number() -> None:
    user, group = map(int, words_of("USER").split(":"))
    assert user > 0
    commands = next(each.words for each in stages()[-1] if each.name == "RUN")
    assert f"--uid {user} " in commands
    assert f"--gid {group} " in commands
    names = [each.name for each in stages()[-1]]
    assert names.index("USER") > names.index("RUN")


def test_it_drains_when_the_container_is_stopped() -> None:
    assert words_of("STOPSIGNAL") == "SIGTERM"
    assert json.loads(words_of("ENTRYPOINT"))[0] == "trioedge"  # no shell in between, which would keep the signal


def test_the_edge_of_the_image_is_in_order_and_has_the_port_and_the_admin_socket_that_the_image_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", str(FOLDER / "edge.toml")]) == 0
    text = (FOLDER / "edge.toml").read_text()
    assert f"listen: tcp://0.0.0.0:{words_of('EXPOSE')}\n" in capsys.readouterr().out
    admin = re.search(r"^admin = \"(.*)\"$", text, re.MULTILINE)
    assert admin is not None
    assert f"TRIOEDGE_EDGE={admin[1]}" in words_of("ENV")
    assert json.loads(words_of("CMD"))[-1] == "/etc/trioedge/edge.toml"
    assert "COPY examples/container/edge.toml /etc/trioedge/edge.toml" in (FOLDER / "Containerfile").read_text()


def test_what_the_build_copies_is_enough_for_a_wheel_with_every_module(tmp_path: Path) -> None:
    for words in (each.words.split() for each in stages()[0] if each.name == "COPY"):
        *sources, to = words
        place = tmp_path / to.strip("/")
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(exist_ok=True)
                shutil.copy(ROOT / source, place)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=tmp_path / "src", check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    there = {name for name in ZipFile(wheel).namelist() if name.startswith("trioedge/")}
    files = (each.relative_to(ROOT) for each in (ROOT / "trioedge").rglob("*") if each.is_file())
    assert there >= {str(each) for each in files if "__pycache__" not in each.parts}
