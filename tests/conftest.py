"""What every test lives by: real programs that are there, or a skip that names the Debian package; and packages."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.packages import Packages
from tests.support.programs import need


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("peer"):
        for program in marker.args:
            need(program)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """Packages that are installed for the length of a test, also for child processes."""
    folder = tmp_path / "installed"
    folder.mkdir()
    modules = set(sys.modules)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    yield Packages(folder)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
