"""The parameters of a request: hostile queries and bodies."""

import pytest

from tests.support.admin import api_of, ask

DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("limit=0", "query.limit: 0 must be a number from 1 to 1,000"),
        ("limit=1001", "query.limit: 1001 must be a number from 1 to 1,000"),
        ("limit=-1", "query.limit: '-1' must be a whole number"),
        ("limit=1e3", "query.limit: '1e3' must be a whole number"),
        ("limit=", "query.limit: '' must be a whole number"),
        ("limit=" + "9" * 30, "query.limit: '999999999999999999999999999999' must be a whole number"),
        ("limit=1&limit=2", "query.'limit': is there twice"),
        ("limt=1", "query: has no 'limt' (did you mean limit?)"),
        ("after=x", "query.after: 'x' must be a whole number"),
        ("source=10.0.0.0%2F33", "query.source: '10.0.0.0/33' must be an IP address"),
        ("service=", "query.service: '' must be text of 1 to 255 letters"),
        ("service=" + "x" * 256, "query.service: "),
        ("service=%FF", "query: must be fields as in limit=10&after=7, percent-encoded UTF-8"),
        ("x", "query: must be fields as in limit=10&after=7, percent-encoded UTF-8"),
        ("&".join(f"a{n}=1" for n in range(65)), "query: must be fields as in limit=10&after=7, percent-encoded UTF-8"),
    ],
)
async def test_a_query_with_a_fault_is_told_it(query: str, fault: str) -> None:
    answer = await ask(api_of(), "GET", f"/v1/sessions?{query}")
    assert answer.status == 422
    assert answer.json["faults"][0].startswith(fault)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"x", "body: must be JSON in UTF-8"),
        (b'{"service": "\xff"}', "body: must be JSON in UTF-8"),
        (b'{"service": "a"', "body: must be JSON in UTF-8"),
        (DEEP, "body: must be JSON in UTF-8"),
        (b'{"session": ' + b"9" * 5_000 + b"}", "body: must be JSON in UTF-8"),
        (b'{"session": NaN}', "body: NaN is no number of JSON"),
        (b'{"session": -Infinity}', "body: -Infinity is no number of JSON"),
        (b'{"session": 1e400}', "body.session: inf must be a whole number"),
        (b'{"service": "a", "service": "b"}', "body: a field is there twice"),
        (b'{"service": {"a": 1, "a": 2}}', "body: a field is there twice"),
        (b'["service"]', "body: ['service'] must be a table"),
        (b"null", "body: None must be a table"),
        (b'"service"', "body: 'service' must be a table"),
    ],
)
async def test_a_body_with_a_fault_is_told_it(body: bytes, fault: str) -> None:
    answer = await ask(api_of(), "POST", "/v1/evict", body[:60_000])
    assert (answer.status, answer.json["faults"][0]) == (422, fault)


@pytest.mark.parametrize("kind", [b"text/plain", b"application/x-www-form-urlencoded", b""])
async def test_a_body_of_another_type_is_415(kind: bytes) -> None:
    answer = await ask(api_of(), "POST", "/v1/evict", b"{}", headers={b"content-type": kind})
    assert answer.status == 415


@pytest.mark.parametrize("kind", [b"application/json", b"Application/JSON; charset=utf-8"])
async def test_a_body_of_json_is_read(kind: bytes) -> None:
    answer = await ask(api_of(), "POST", "/v1/evict", b"{}", headers={b"content-type": kind})
    assert answer.json["faults"] == ["body: must name service or source or session"]
