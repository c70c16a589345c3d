"""The list of metrics: names by the conventions of Prometheus, and each of them given by an edge."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import trioedge as te
from tests.support.admin import admin_world, ask
from tests.support.edges import exchange, make_edge
from trioedge.admin.metrics.catalogue import CATALOGUE
from trioedge.admin.metrics.families import COUNTER, HISTOGRAM, MAX, MIN, SUM, Metric

METRICS = [*CATALOGUE.values()]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_by_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"trioedge_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.type == COUNTER)
    assert not re.search(r"_(ms|millis|micros|percent|kb|mb|count|sum|bucket)(_|$)", metric.name), "base units"
    assert metric.type != HISTOGRAM or metric.name.endswith("_seconds")
    assert metric.merge in (SUM, MAX, MIN)
    assert metric.help.endswith(".")
    assert "le" not in metric.labels
    assert (metric.buckets != (0, 0)) == (metric.type == HISTOGRAM)


async def check(service: str, device: str) -> te.DeviceVerdict:
    return te.DeviceVerdict(accept=True, seconds=60.0)


async def test_an_edge_gives_every_metric_of_the_list_and_no_other(autojump_clock: object) -> None:
    control = te.MemoryControl({"a": te.Policy(down_rate=1e6)}, check=check)
    members = te.Balanced(["tcp://192.0.2.9:1", "tcp://192.0.2.9:2"])
    edge = make_edge(control, te.SessionGate(), te.DeviceLimit(), te.Pacing(), endpoint=te.Forward(members))
    async with admin_world(edge, metrics_services=1) as world:
        await exchange(await world.edge.connect("192.0.2.1"))
        await ask(world.api, "GET", "/nowhere")
        answered = await ask(world.api, "GET", "/metrics")
    assert answered.status == 200
    found = {}
    for each in text_string_to_metric_families(answered.body.decode()):
        name = f"{each.name}_total" if each.type == COUNTER else each.name
        found[name] = each.type, each.documentation
        metric = CATALOGUE[name]
        for sample in each.samples:
            assert {*sample.labels} - {"le"} == {*metric.labels}
    assert found == {each.name: (each.type, each.help) for each in METRICS}


def test_the_guide_lists_every_metric_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/monitor.md").read_text()
    rows = re.findall(r"^\| `(trioedge_\w+)` \| (\w+) \| (.*) \| (.+) \|$", page, re.MULTILINE)
    assert [(name, type_, labels, f"{help_}.") for name, type_, labels, help_ in rows] == [
        (each.name, each.type, ", ".join(f"`{label}`" for label in each.labels), each.help) for each in METRICS
    ]
