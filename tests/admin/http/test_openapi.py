"""The description of the API."""

import json
from typing import Any

import pytest

from tests.support.admin import api_of, ask
from trioedge.admin.http.openapi import openapi
from trioedge.admin.operations import OPERATIONS

DESCRIPTION = openapi(needs_token=True)


def of(name: str) -> dict[str, Any]:
    operation = next(each for each in OPERATIONS if each.name == name)
    found: dict[str, Any] = DESCRIPTION["paths"][operation.path][operation.method.lower()]
    return found


async def test_the_api_describes_itself() -> None:
    assert (await ask(api_of(), "GET", "/openapi.json")).json == json.loads(json.dumps(openapi()))


def test_every_operation_is_there() -> None:
    there = {each["operationId"] for path in DESCRIPTION["paths"].values() for each in path.values()}
    assert there == {each.name for each in OPERATIONS}
    assert DESCRIPTION["openapi"] == "3.1.0"


def test_a_token_is_named_where_it_is_asked_for() -> None:
    assert (of("statistics")["security"], of("health")["security"]) == ([{"token": []}], [])
    assert openapi()["paths"]["/v1/statistics"]["get"]["security"] == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_statuses_parameters_and_bodies_are_those_of_the_table(operation: Any) -> None:
    described = of(operation.name)
    assert {*described["responses"]} == {"200", *map(str, operation.statuses)}
    placed = [each.name for each in operation.parameters if each.place != "body"]
    assert [each["name"] for each in described.get("parameters", [])] == placed
    assert ("requestBody" in described) is operation.has_body


def test_an_eviction_names_one_of_three_and_a_device_with_its_service() -> None:
    shapes = of("evict")["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert [each["required"] for each in shapes] == [["service"], ["source"], ["session"]]
    assert ["device" in each["properties"] for each in shapes] == [True, False, False]
