from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_edge import POINTS, STAGE, STATISTICS, TOP, fake_edge
from trioedge.addresses.address import parse_address
from trioedge.cli.client.client import EdgeClient
from trioedge.cli.top.sample import By, Sample, key_of, rates, take


async def test_a_sample_has_all_that_is_shown(tmp_path: Path) -> None:
    with fake_edge(tmp_path) as edge:
        sample = await take(EdgeClient(parse_address(edge.address)), "device", "bytes", 7.0)
        assert sample == Sample(7.0, "device", STATISTICS, POINTS, [STAGE], TOP["device"])
        assert [each.query for each in edge.asked if each.path == "/v1/top"] == [
            {"by": "device", "order": "bytes", "limit": "100"}
        ]
    assert key_of(TOP["device"][0]) == ("shop", "phone")
    assert key_of(TOP["source"][0]) == (None, "192.0.2.7")


def sample(at: float, by: By = "source", rows: Mapping[str, int] = {}, **counts: Any) -> Sample:
    zero = {"accepted": 0, "refused": {}, "bytes_up": 0, "bytes_down": 0}
    row = {"service": None, "live": 1}
    items = [{**row, "key": key, "bytes_up": size, "bytes_down": size} for key, size in rows.items()]
    return Sample(at, by, {**zero, **counts}, [], [], items)


def test_rates_are_the_increase_a_second() -> None:
    then = sample(10.0, rows={"a": 100, "gone": 5}, accepted=10, refused={"rate": 1}, bytes_up=10)
    counts: dict[str, Any] = {"accepted": 30, "refused": {"rate": 2, "source": 4}, "bytes_up": 20, "bytes_down": 8}
    now = sample(12.0, rows={"a": 300, "new": 9}, **counts)
    found = rates(then, now)
    assert found is not None
    assert (found.accepted, found.refused, found.up, found.down) == (10, 2.5, 5, 4)
    assert found.rows == {(None, "a"): 200}


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (sample(10.0, accepted=5), sample(11.0, accepted=4)),  # the edge began anew
        (sample(10.0, refused={"rate": 5}), sample(11.0)),
        (sample(10.0), sample(10.0)),
    ],
)
def test_counts_that_fell_give_no_rates(then: Sample, now: Sample) -> None:
    assert rates(then, now) is None


def test_rows_of_another_kind_have_no_rates_and_sessions_that_ended_none_below_0() -> None:
    found = rates(sample(1.0, rows={"a": 100}), sample(2.0, by="service", rows={"a": 300}))
    assert found is not None
    assert found.rows == {}
    found = rates(sample(1.0, rows={"a": 100}), sample(2.0, rows={"a": 30}))
    assert found is not None
    assert found.rows == {(None, "a"): 0.0}
