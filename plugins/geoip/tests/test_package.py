"""The package as a user meets it: its entry point, its import, its example and its files of configuration."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import trioedge as te

from trioedge_geoip import GeoIp, GeoRules

ROOT = Path(__file__).parents[1]


def stages_of(text: str) -> list[dict[str, Any]]:
    """The stages of an edge.toml."""
    (edge,) = tomllib.loads(text)["edge"].values()
    stages: list[dict[str, Any]] = edge["stages"]
    return stages


def geo_of(text: str) -> GeoIp:
    """The stage `geoip` of an edge.toml, made of its keys."""
    (arguments,) = [stage for stage in stages_of(text) if stage.pop("use") == "geoip"]
    return GeoIp(**arguments)


def block(kind: str) -> str:
    """The block of the README in this language."""
    found = re.search(rf"^```{kind}\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_entry_point_is_the_stage() -> None:
    (point,) = entry_points(group="trioedge.stages", name="geoip")
    assert point.load() is GeoIp


def test_importing_it_does_not_import_maxminddb() -> None:
    code = "import sys, trioedge, trioedge_geoip; print('maxminddb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_files_make_the_stage_of_the_example() -> None:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile((ROOT / "example.py").read_text(), "example.py", "exec"), names)
    (example,) = [part for part in names["edge"].outline.parts if isinstance(part, GeoIp)]
    made = geo_of((ROOT / "edge.toml").read_text())
    assert vars(made) == vars(example)
    assert repr(made) == "GeoIp(GeoLite2-Country.mmdb, 3 accepted, 1 rejected)"


def test_the_services_file_is_read() -> None:
    edge = te.Edge(
        "tcp://127.0.0.1:0", [te.Identify("shop"), GeoIp("x.mmdb")], te.Forward(allow=["loopback"]),
        control=te.FileControl(ROOT / "services.toml"),
    )  # fmt: skip
    snapshot = te.FileControl(ROOT / "services.toml").read(edge.stage_keys)
    rules = GeoRules(accept_countries=("DE", "AT", "CH"), reject_as_numbers=(64500,))
    assert snapshot.services["shop"].policy.stages == (rules,)


def test_the_two_blocks_of_the_readme_make_the_same_stage() -> None:
    names: dict[str, Any] = {}
    exec(compile(block("python"), "README.md", "exec"), names)
    (example,) = [part for part in names["edge"].outline.parts if isinstance(part, GeoIp)]
    assert vars(geo_of(block("toml"))) == vars(example)
