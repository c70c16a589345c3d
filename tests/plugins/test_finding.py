import subprocess
import sys

import pytest

import trioedge as te
from tests.support.packages import HOURS, Packages, plugin
from trioedge.plugins import Kind, find, names


def message(kind: Kind, use: str) -> str:
    """Give the fault of a name, which is one line."""
    with pytest.raises(te.ConfigurationError) as caught:
        find(kind, use)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_metadata_is_read_for_a_part_that_ships() -> None:
    code = "import sys; from trioedge.plugins import *; find(Kind.STAGE, 'pacing'); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "trioedge.stages.pacing.pacing" in run.stdout.split()
    assert "importlib.metadata" not in run.stdout.split()


def test_a_name_is_of_its_kind(packages: Packages) -> None:
    text = "class A:\n    def decide(self, s): ...\nclass B:\n    async def handle(self, s): ...\n"
    both = plugin("stages", "lines", "lines:A") + plugin("endpoints", "lines", "lines:B")
    packages.add("trioedge-lines", entry_points=both, lines=text)
    assert find(Kind.STAGE, "lines").__name__ == "A"
    assert find(Kind.ENDPOINT, "lines").__name__ == "B"


def test_the_part_that_ships_wins_and_a_package_may_be_named(packages: Packages) -> None:
    packages.add("My_Tls", entry_points=plugin("stages", "tls", "trioedge_hours:Hours"), trioedge_hours=HOURS)
    assert find(Kind.STAGE, "tls") is te.Tls
    assert find(Kind.STAGE, "my-tls:tls").__name__ == "Hours"
    assert find(Kind.STAGE, "MY.TLS:tls").__name__ == "Hours"


def test_two_packages_with_one_name_are_told_apart_by_their_names(packages: Packages) -> None:
    packages.add("trioedge-geoip", entry_points=plugin("stages", "geoip", "one:Hours"), one=HOURS)
    packages.add("other-geoip", "3", entry_points=plugin("stages", "geoip", "other:Hours"), other=HOURS)
    assert message(Kind.STAGE, "geoip") == (
        "use = 'geoip' names 2 plugins, of other-geoip 3 and of trioedge-geoip 0.1.0: write use = 'other-geoip:geoip' "
        "or 'trioedge-geoip:geoip', or uninstall one"
    )
    assert find(Kind.STAGE, "other-geoip:geoip").__module__ == "other"
    assert message(Kind.STAGE, "third:geoip") == (
        "use = 'third:geoip' is no stage: did you mean 'other-geoip:geoip' or 'trioedge-geoip:geoip'?"
    )


@pytest.mark.parametrize(
    ("kind", "use", "says"),
    [
        (Kind.STAGE, "geopi", "is no stage: did you mean 'geoip'? There are identify, identify-by-sni, "),
        (Kind.STAGE, "sesion-gate", "is no stage: did you mean 'session-gate'? There are "),
        (Kind.STAGE, "quota", "is no stage: there are identify, "),
        (Kind.STAGE, "otel", "is an observer, not a stage"),
        (Kind.OBSERVER, "oteel", "is no observer: did you mean 'otel'? There are "),
        (Kind.STAGE, "forwad", "is no stage: did you mean 'forward', an endpoint? There are "),
        (Kind.ENDPOINT, "direct", "is an outbound, not an endpoint"),
        (Kind.CONTROL, "", "is no control plane: there are file, http; plugins are installed with pip"),
        (Kind.STAGE, "x" * 1_000_000, "xxx... is no stage: there are identify, "),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_right_one(
    kind: Kind, use: str, says: str, packages: Packages
) -> None:
    packages.add("trioedge-geoip", entry_points=plugin("stages", "geoip", "one:Hours"))
    packages.add("trioedge-otel", entry_points=plugin("observers", "otel", "one:Hours"))
    said = message(kind, use)
    assert said.startswith(f"use = '{use[:50]}")
    assert says in said
    assert said.endswith(("plugins are installed with pip", "not a stage", "not an endpoint"))


def test_names_are_those_that_ship_and_then_those_of_plugins_each_once(packages: Packages) -> None:
    assert names(Kind.OUTBOUND) == ["direct", "via", "balanced"]
    for name in ("a", "b"):
        packages.add(name, entry_points="[trioedge.outbounds]\ndirect = x:Y\nwarp = x:Y\n")
    assert names(Kind.OUTBOUND) == ["direct", "via", "balanced", "warp"]
