import json

import pytest

from tests.support.packages import HOURS, Packages, plugin
from trioedge.cli import main


def written(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, object], str]:
    """Run the command, and give the definitions of its schema and what it says on stderr."""
    assert main(["schema"]) == 0
    out, err = capsys.readouterr()
    return json.loads(out)["definitions"], err


def test_the_schema_has_the_parts_that_ship_and_plugins(packages: Packages, capsys: pytest.CaptureFixture[str]) -> None:
    packages.add("trioedge-hours", entry_points=plugin("stages", "hours", "trioedge_hours:Hours"), trioedge_hours=HOURS)
    definitions, err = written(capsys)
    assert {"stage-session-gate", "endpoint-forward", "outbound-via", "control-file", "stage-hours"} <= set(definitions)
    assert err == ""


def test_a_plugin_that_cannot_be_imported_is_left_out_and_named(
    packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    packages.add("trioedge-gone", entry_points=plugin("stages", "gone", "trioedge_gone:Gone"))
    definitions, err = written(capsys)
    assert "stage-gone" not in definitions
    assert err.startswith("trioedge: trioedge-gone 0.1.0 ")
    assert err.count("\n") == 1


def test_a_plugin_whose_arguments_cannot_be_read_is_left_out_and_named(
    packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "def odd(x: int = 1): ...\nodd.__signature__ = 5\n"
    packages.add("trioedge-odd", entry_points=plugin("stages", "odd", "trioedge_odd:odd"), trioedge_odd=text)
    definitions, err = written(capsys)
    assert "stage-odd" not in definitions
    assert "has no signature, of which the keys of a table are made: TypeError" in err


def test_a_plugin_with_a_name_that_ships_is_not_the_one_of_the_schema(
    packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    packages.add("my-tls", entry_points=plugin("stages", "tls", "trioedge_hours:Hours"), trioedge_hours=HOURS)
    definitions, _ = written(capsys)
    table = definitions["stage-tls"]
    assert isinstance(table, dict)
    assert table["title"] == "Tls"
