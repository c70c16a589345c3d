"""The pages on services and control planes are right: keys, fates, limits, the contract, and every example."""

import json
import re
from pathlib import Path
from typing import Any

import attrs

import trioedge as te
from examples.control_plane.app import ControlPlane
from examples.control_plane.store import Store
from trioedge.control import http, http_client, retry_after, snapshot_lines, watched_file
from trioedge.control.file import read_services
from trioedge.control.settings import KEYS, read_settings
from trioedge.errors import MAX_FAULTS
from trioedge.services.policy import FATES, FIELDS
from trioedge.services.stage_keys import StageKeys

REFERENCE = Path(__file__).parents[1] / "docs/reference"
FILE_PAGE = (REFERENCE / "services-file.md").read_text()
PLANE_PAGE = (REFERENCE / "control-plane.md").read_text()
CONTRACT = json.loads((REFERENCE / "control-plane.openapi.json").read_text())
SCHEMAS = CONTRACT["components"]["schemas"]


def table(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading."""
    text = page.partition(f"{heading}\n")[2]
    rows = text[text.index("|") :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def block(page: str, language: str, number: int = 0) -> str:
    found: list[str] = re.findall(rf"^```{language}[^\n]*\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return found[number]


def names_of(cls: Any) -> list[str]:
    return [field.name for field in attrs.fields(cls)]


def written(default: object) -> str:
    """Write a default as the table does."""
    if default is None:
        return "none"
    if default == ():
        return "empty"
    return (
        str(default).lower() if isinstance(default, bool) else default if isinstance(default, str) else f"{default:g}"
    )


def test_every_key_is_explained() -> None:
    rows = table(FILE_PAGE, "## Keys")
    assert [row[0].strip("`") for row in rows] == list(KEYS)
    defaults = {field.name: written(field.default) for field in FIELDS} | {"password_hash": "none"}
    assert {row[0].strip("`"): row[3].strip("`") for row in rows} == defaults
    assert {row[0].strip("`"): row[4] for row in rows} == {key: str(fate) for key, fate in FATES.items()}


def test_every_choice_is_named() -> None:
    types = {row[0].strip("`"): row[2] for row in table(FILE_PAGE, "## Keys")}
    assert re.findall(r"`(\w+)`", types["device_handover"]) == [str(each) for each in te.Handover]
    assert re.findall(r"`(\w+)`", types["device_unchecked"]) == [str(each) for each in te.Unchecked]


def test_the_stage_that_the_table_names_for_a_key_enforces_it() -> None:
    for row in table(FILE_PAGE, "## Keys"):
        key, stage = row[0].strip("`"), row[5].strip("`")
        if stage not in (
            "Edge.verify", "every stage that names a service", "Edge(open_ports=…)", "the edge itself",
        ):  # fmt: skip
            made = eval(stage if "(" in stage else f"{stage}()", vars(te))
            assert key in made.enforces, (key, stage)


def test_every_fate_is_explained() -> None:
    assert [row[0] for row in table(FILE_PAGE, "## What a change does to live sessions")] == [
        str(each) for each in te.Fate
    ]


def test_the_file_of_the_page_is_read_and_says_every_key(tmp_path: Path) -> None:
    path = tmp_path / "services.toml"
    path.write_text(block(FILE_PAGE, "toml"))
    services = read_services(path).services
    assert list(services) == ["shop", "api.example.com", "cafe"]
    shop = path.read_text().partition("[services.shop]")[2].partition("\n\n")[0]
    assert re.findall(r"^(\w+) =", shop, re.MULTILINE) == list(KEYS)
    for field in FIELDS:
        assert getattr(services["shop"].policy, field.name) != field.default or field.default in (True, "stale_for")


def hours() -> tuple[StageKeys, type]:
    """Run the stage of the page, and return the keys that it names."""
    names: dict[str, Any] = {"__name__": "hours"}
    exec(block(FILE_PAGE.partition("## Keys of your own stages")[2], "python"), names)
    return StageKeys([names["OpenHours"].policy]), names["Hours"]


def test_the_table_of_the_pages_stage_is_read(tmp_path: Path) -> None:
    path = tmp_path / "services.toml"
    path.write_text(block(FILE_PAGE.partition("## Keys of your own stages")[2], "toml"))
    stage_keys, keys = hours()
    (shop,) = read_services(path, stage_keys).services.values()
    assert shop.policy == te.Policy(session_rate=5, stages=(keys(8, 18),))


def test_the_faults_of_the_pages_stage_are_those_of_the_code() -> None:
    stage_keys, _ = hours()
    tables: list[dict[str, Any]] = [
        {"hours": {"sinse": 8, "until": "18"}}, {"hours": {"since": 99}}, {"ours": {"since": 8}},
    ]  # fmt: skip
    faults = [fault for table in tables for fault in read_settings(table, "services.shop", stage_keys)[1]]
    assert [fault.partition(" (got")[0] for fault in block(FILE_PAGE, "text", 1).splitlines()] == [
        fault.partition(" (got")[0] for fault in faults
    ]


def test_the_table_of_a_stage_is_an_open_object_of_the_contract() -> None:
    more = SCHEMAS["Service"]["additionalProperties"]
    assert (more["type"], more["additionalProperties"]) == ("object", True)
    assert "snake_case" in more["description"]
    line = re.findall(r'`"hours": (\{.*?\})`', PLANE_PAGE)
    assert [json.loads(each) for each in line] == [{"since": 8}]


def test_the_limits_of_the_pages_are_those_of_the_code() -> None:
    said = {row[0]: row[1] for row in table(PLANE_PAGE, "`control plane is back`.")}
    assert said == {
        "connect": f"{http_client.CONNECT_SECONDS:g} s",
        "the next bytes of an answer": f"{http.READ_SECONDS:g} s, and `wait`",
        "a whole snapshot": f"{http.SNAPSHOT_SECONDS:g} s, and `wait`",
        "a report": f"{http.REPORT_SECONDS:g} s",
        "device checks under way": f"{http.MAX_CHECKS}; others wait, within `check_seconds`",
        "a line of a snapshot": f"{snapshot_lines.MAX_LINE_BYTES:,} bytes, and {snapshot_lines.MAX_VALUES:,} values",
        "a snapshot": f"{snapshot_lines.MAX_BYTES:,} bytes",
        "an answer to a check or a report": f"{http_client.MAX_ANSWER_BYTES:,} bytes",
    }
    assert f"after {http.FIRST_RETRY_SECONDS:g} to {http.MAX_RETRY_SECONDS:g} s" in PLANE_PAGE
    for busy in CONTRACT["components"]["responses"].values():
        assert f"at most {retry_after.MAX_WAIT_SECONDS:g} seconds" in busy["headers"]["Retry-After"]["description"]
    assert {str(status) for status in retry_after.STATUSES} == {
        name[-3:] for name in CONTRACT["components"]["responses"]
    }
    assert f"at most {retry_after.MAX_WAIT_SECONDS:g} s long" in PLANE_PAGE
    assert f"the file is read once it has not changed for {watched_file.SETTLED_SECONDS:g} s" in FILE_PAGE
    assert f"applied once it has not changed for {watched_file.DOUBT_SECONDS:g} s" in FILE_PAGE
    assert f"looked at every {watched_file.LOOK_SECONDS:g} s" in FILE_PAGE
    assert f"{snapshot_lines.MAX_LINE_BYTES:,} bytes as JSON" in FILE_PAGE
    assert f"may have {snapshot_lines.MAX_VALUES:,} values" in FILE_PAGE
    assert f"the\nfirst {MAX_FAULTS} of them" in FILE_PAGE


def test_the_routes_of_the_contract_are_those_that_the_example_serves() -> None:
    store = Store(":memory:")
    served = {
        (route.path, method.lower())  # type: ignore[attr-defined]
        for route in ControlPlane(store).app().routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
        if route.path.startswith("/v1/")  # type: ignore[attr-defined]
    }
    store.close()
    assert served == {(path, method) for path, methods in CONTRACT["paths"].items() for method in methods}
    assert {path for path, _ in served} == {row[0].strip("`").split()[1] for row in table(PLANE_PAGE, "over HTTP")}


def test_the_schemas_are_those_of_the_code() -> None:
    assert list(SCHEMAS["Service"]["properties"]) == ["name", *KEYS]
    for field in FIELDS:
        default = SCHEMAS["Service"]["properties"][field.name]["default"]
        assert (tuple(default) if isinstance(default, list) else default) == field.default, field.name
    assert SCHEMAS["Service"]["properties"]["device_handover"]["enum"] == [*te.Handover, None]
    assert SCHEMAS["Service"]["properties"]["device_unchecked"]["enum"] == [*te.Unchecked, None]
    assert list(SCHEMAS["Verdict"]["properties"]) == names_of(te.DeviceVerdict)
    assert SCHEMAS["Verdict"]["properties"]["seconds"]["default"] == te.DeviceVerdict(True).seconds
    assert SCHEMAS["Verdict"]["properties"]["seconds"]["maximum"] == http.MAX_VERDICT_SECONDS
    assert list(SCHEMAS["Report"]["properties"]) == SCHEMAS["Report"]["required"] == names_of(te.Report)
    assert list(SCHEMAS["Usage"]["properties"]) == SCHEMAS["Usage"]["required"] == names_of(te.Usage)


def test_the_contract_refers_to_each_of_its_schemas_and_to_no_other() -> None:
    assert CONTRACT["openapi"].startswith("3.1")
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(CONTRACT)))
    assert used == set(SCHEMAS)
    for methods in CONTRACT["paths"].values():
        for operation in methods.values():
            assert {"operationId", "summary", "responses"} <= operation.keys()
            assert {"200", "429", "503"} <= operation["responses"].keys()


def test_the_messages_of_the_page_are_those_of_the_contract() -> None:
    lines = block(PLANE_PAGE, "http", 1).partition("\n\n")[2].splitlines()
    assert len(lines) == 4
    reader = snapshot_lines.SnapshotReader(known := snapshot_lines.KnownLines())
    known.applied = True
    for line in lines:
        list(reader.read(f"{line}\n".encode()))
    list(reader.finish())
    assert list(reader.services) == ["shop"]
    assert (
        json.loads(block(PLANE_PAGE, "http", 2).partition("\n\n")[2]).keys() == SCHEMAS["Device"]["properties"].keys()
    )
    assert json.loads(block(PLANE_PAGE, "json", 0)).keys() == SCHEMAS["Verdict"]["properties"].keys()
    report = json.loads(block(PLANE_PAGE, "http", 3).partition("\n\n")[2])
    assert report.keys() == SCHEMAS["Report"]["properties"].keys()
    assert report["services"][0].keys() == SCHEMAS["Usage"]["properties"].keys()
    assert json.loads(block(PLANE_PAGE, "json", 1)) == {"acknowledged": report["sequence"]}
