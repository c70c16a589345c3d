"""The dashboard and the alerts of `examples/monitoring`: they ask for metrics that an edge gives, and for no other."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import trioedge as te
from tests.support.admin import admin_world, ask
from tests.support.edges import make_edge, services
from tests.support.programs import output
from trioedge.admin.metrics.catalogue import CATALOGUE
from trioedge.admin.metrics.families import HISTOGRAM

FOLDER = Path(__file__).parents[1] / "examples/monitoring"
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text())
ALERTS = (FOLDER / "alerts.yml").read_text()

SERIES = {
    name: {*metric.labels} | ({"le"} if suffix == "_bucket" else set())
    for metric in CATALOGUE.values()
    for suffix in (("_bucket", "_sum", "_count") if metric.type == HISTOGRAM else ("",))
    for name in [metric.name + suffix]
} | {"up": set()}
"""Every name that an expression may use, with its labels; Prometheus itself has ``up``."""

OF_PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus adds to every series."""


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def dashboard_expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def alert_expressions() -> list[str]:
    """Give the expressions of the rules, of which one may go over several lines."""
    found = re.findall(r"^        expr: (?:>-\n((?:          .*\n)+)|(.*)\n)", ALERTS, re.MULTILINE)
    return [" ".join(several.split()) or one for several, one in found]


EXPRESSIONS = [*dashboard_expressions(), *alert_expressions()]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_uses_series_and_labels_that_there_are(expression: str) -> None:
    names = re.findall(r"\b(trioedge_\w+|up)\b", expression)
    assert names
    assert [name for name in names if name not in SERIES] == []
    known = set.union(OF_PROMETHEUS, *(SERIES[name] for name in names))
    used = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", expression))
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        used |= {label.strip() for label in group.split(",")}
    assert used <= known


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_metric_is_in_the_dashboard(name: str) -> None:
    assert any(re.search(rf"\b{name}(_bucket|_sum|_count)?\b", each) for each in dashboard_expressions())


def test_the_labels_of_a_legend_are_those_of_its_expression() -> None:
    for panel in panels():
        for target in panel["targets"]:
            names = re.findall(r"\b(trioedge_\w+)\b", target["expr"])
            known = set.union(OF_PROMETHEUS, *(SERIES[name] for name in names))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known, panel["title"]


def test_the_dashboard_can_be_imported() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert "id" not in DASHBOARD, "Grafana gives it one"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert {each["name"] for each in DASHBOARD["templating"]["list"]} == {"datasource", "instance"}
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_no_panel_covers_another() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for one, other in combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_each_alert_has_a_severity_and_says_what_is_the_matter() -> None:
    names = re.findall(r"- alert: (\w+)", ALERTS)
    assert len(names) == len(set(names)) == len(alert_expressions())
    assert ALERTS.count("severity: ") == ALERTS.count("summary: ") == len(names)


def test_an_alert_names_labels_that_its_expression_gives() -> None:
    rules = ALERTS.split("- alert: ")[1:]
    for rule, expression in zip(rules, alert_expressions(), strict=True):
        names = re.findall(r"\b(trioedge_\w+|up)\b", expression)
        grouped = re.findall(r"\bby \(([^)]*)\)", expression)
        kept = {label.strip() for label in grouped[0].split(",")} if grouped else OF_PROMETHEUS | SERIES[names[0]]
        assert set(re.findall(r"\$labels\.(\w+)", rule)) <= kept, rule


@pytest.mark.peer("promtool")
async def test_prometheus_reads_the_rules_and_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    await output("promtool", "check", "rules", FOLDER / "alerts.yml")
    rules = "".join(
        f"  - record: panel:{number}\n    expr: {json.dumps(_concrete(expression))}\n"
        for number, expression in enumerate(dashboard_expressions())
    )
    file = tmp_path / "panels.yml"
    file.write_text(f"groups:\n- name: panels\n  rules:\n{rules}")
    await output("promtool", "check", "rules", file)


def _concrete(expression: str) -> str:
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".*")


@pytest.mark.peer("promtool")
async def test_prometheus_finds_no_fault_in_the_metrics_of_an_edge(autojump_clock: object, tmp_path: Path) -> None:
    async with admin_world(make_edge(services(a=te.Policy())), metrics_services=5) as world:
        answered = await ask(world.api, "GET", "/metrics")
    file = tmp_path / "metrics.txt"
    file.write_bytes(answered.body)
    assert await output("sh", "-c", f"promtool check metrics < {file}") == ""


def test_the_guide_says_what_to_do_about_every_alert() -> None:
    page = (FOLDER.parents[1] / "docs/how-to/monitor.md").read_text()
    assert re.findall(r"^\| `(Edge\w+)`", page, re.MULTILINE) == re.findall(r"- alert: (\w+)", ALERTS)


def test_the_guide_shows_the_configuration_of_the_example() -> None:
    page = (FOLDER.parents[1] / "docs/how-to/monitor.md").read_text()
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown in (FOLDER / "prometheus.yml").read_text()
