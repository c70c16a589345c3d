"""The package as it is installed."""

import runpy
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import trioedge as te

from trioedge_otel import Otel

PLUGIN = Path(__file__).parents[1]


def test_its_entry_point_is_otel_among_the_observers() -> None:
    (found,) = entry_points(group="trioedge.observers", name="otel")
    assert found.load() is Otel


def test_the_example_and_the_file_have_the_same_observer() -> None:
    edge = runpy.run_path(str(PLUGIN / "example.py"))["edge"]
    assert isinstance(edge, te.Edge)
    (written,) = tomllib.loads((PLUGIN / "edge.toml").read_text())["edge"]["redis"]["observers"]
    assert written.pop("use") == "otel"
    (observer,) = edge._description.observers
    assert repr(observer) == repr(Otel(**written))
