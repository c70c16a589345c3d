"""Parameters are read and refused as their schemas say."""

import re
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.admin.parameters import SOURCE, Parameter, checked, choice, source_fault, text, whole

LIMIT = Parameter(name="limit", says="items", schema=whole(1, 1_000), default=100)
NAME = Parameter(name="name", says="a name", schema=text(5), required=True)
ORDER = Parameter(name="order", says="an order", schema=choice("name", "live"), default="name")
SECONDS = Parameter(name="seconds", says="seconds", schema={"type": "number", "minimum": 0, "maximum": 10})


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        (LIMIT, "7", 7),
        (LIMIT, "007", 7),
        (LIMIT, "7.0", "7.0"),
        (LIMIT, "٣", "٣"),
        (LIMIT, "9" * 5_000, "9" * 5_000),
        (NAME, "7", "7"),
        (SECONDS, "2.5", 2.5),
        (SECONDS, "x", "x"),
    ],
)
def test_a_text_is_read_by_its_type(parameter: Parameter, text: str, value: object) -> None:
    assert parameter.read(text) == value


@pytest.mark.parametrize(
    ("parameter", "value", "fault"),
    [
        (LIMIT, 0, "must be a number from 1 to 1,000"),
        (LIMIT, 10**400, "must be a number from 1 to 1,000"),
        (LIMIT, "x", "must be a whole number"),
        (LIMIT, True, "must be a whole number"),
        (NAME, "", "must be text of 1 to 5 letters"),
        (NAME, "abcdef", "must be text of 1 to 5 letters"),
        (NAME, None, "must be text"),
        (ORDER, "x", "must be 'name' or 'live'"),
        (ORDER, [], "must be text"),
        (SECONDS, float("nan"), "must be a number"),
        (SECONDS, float("inf"), "must be a number"),
        (SECONDS, -1, "must be a number from 0 to 10"),
        (SECONDS, 10**400, "must be a number from 0 to 10"),
        (LIMIT, 1_000, ""),
        (NAME, "ab\n", ""),
        (SECONDS, 0, ""),
    ],
)
def test_a_value_that_is_not_as_the_schema_says_has_a_fault(parameter: Parameter, value: Any, fault: str) -> None:
    assert parameter.fault(value) == fault


def test_all_faults_of_a_place_are_told() -> None:
    values, faults = checked({"limit": 0, "nam": "x"}, [LIMIT, NAME, ORDER], "query", ["query: broken"])
    assert faults == [
        "query: broken",
        "query: has no 'nam' (did you mean name?)",
        "query.limit: 0 must be a number from 1 to 1,000",
        "query.name: is missing: a name",
    ]
    assert values == {"limit": 100, "name": None, "order": "name"}


def test_a_whole_float_is_a_whole_number() -> None:
    assert checked({"limit": 7.0, "name": "a"}, [LIMIT, NAME], "body") == ({"limit": 7, "name": "a"}, [])
    assert checked({"limit": float("inf"), "name": "a"}, [LIMIT, NAME], "body")[1]


def fits(value: str) -> bool:
    shapes = SOURCE["anyOf"]
    return any(value == each.get("const") or re.search(each.get("pattern", "^$"), value) for each in shapes)


@given(st.ip_addresses(), st.integers(0, 128))
def test_the_schema_of_a_source_has_the_prefixes_that_are_taken(address: Any, length: int) -> None:
    length = min(length, address.max_prefixlen)
    prefix = str(ip_network((address, length), strict=False))
    assert source_fault(prefix) == source_fault(str(address)) == ""
    if address.version == 4:
        assert fits(prefix)
        assert fits(str(address))


@pytest.mark.parametrize("value", ["256.0.0.1", "1.2.3", "1.2.3.4/33", "::/129", "1.2.3.4 ", "x", "unix/8", "01.2.3.4"])
def test_what_is_no_source_is_neither_in_the_schema_nor_taken(value: str) -> None:
    assert not fits(value)
    assert source_fault(value)
