"""Every test of the command line runs in a folder of its own; logging and modules are put back after it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.fake_edge import FakeEdge, fake_edge
from tests.support.logging_state import logging_restored
from trioedge.cli import main

Command: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    modules = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    for name in ("TRIOEDGE_EDGE", "TRIOEDGE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", sys.path[:])
    with logging_restored():
        yield
    for name in set(sys.modules) - modules:  # those that the test's targets imported
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEdge]:
    """The admin API of an edge, which commands ask."""
    with fake_edge(tmp_path) as edge:
        monkeypatch.setenv("TRIOEDGE_EDGE", edge.address)
        yield edge


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command; give its exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        return code, *capsys.readouterr()

    return run
