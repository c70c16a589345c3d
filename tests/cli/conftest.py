"""Every test of the command line runs in a folder of its own; logging and modules are put back after it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.logging_state import logging_restored


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    modules = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    with logging_restored():
        yield
    for name in set(sys.modules) - modules:  # those that the test's targets imported
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
