"""The package as a user meets it: its entry point, its import, its example and its files of configuration."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import trioedge as te

from trioedge_nft import NftBan

ROOT = Path(__file__).parents[1]


def observer_of(text: str) -> NftBan:
    """The observer `nft` of an edge.toml, made of its keys."""
    (edge,) = tomllib.loads(text)["edge"].values()
    (arguments,) = [each for each in edge["observers"] if each.pop("use") == "nft"]
    return NftBan(**arguments)


def made_by(code: str, monkeypatch: pytest.MonkeyPatch) -> NftBan:
    """The observer that a program gives its edge."""
    edge = te.Edge
    given: list[Any] = []

    def note(*arguments: Any, observers: Any, **options: Any) -> te.Edge:
        given.extend(observers)
        return edge(*arguments, observers=observers, **options)

    with monkeypatch.context() as patch:
        patch.setattr(te, "Edge", note)
        exec(compile(code, "example", "exec"), {"__name__": "example"})
    (found,) = given
    assert isinstance(found, NftBan)
    return found


def block(kind: str) -> str:
    """The block of the README in this language."""
    found = re.search(rf"^```{kind}\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_entry_point_is_the_observer() -> None:
    (point,) = entry_points(group="trioedge.observers", name="nft")
    assert point.load() is NftBan


def test_the_files_make_the_observer_of_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    made = observer_of((ROOT / "edge.toml").read_text())
    assert vars(made) == vars(made_by((ROOT / "example.py").read_text(), monkeypatch))


def test_the_two_blocks_of_the_readme_make_the_same_observer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert vars(observer_of(block("toml"))) == vars(made_by(block("python"), monkeypatch))


def test_importing_it_starts_nothing() -> None:
    code = "import threading, trioedge_nft; print(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
