"""Tests of the arguments of an edge: the values that are refused, and the words."""

import socket

import pytest

import trioedge as te
from trioedge.endpoints.forward import Forward


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"drain_seconds": -1}, "Edge(drain_seconds="),
        ({"report_seconds": 0}, "Edge(report_seconds="),
        ({"max_sessions": 0}, "Edge(max_sessions="),
        ({"refuse": "drop"}, "Edge(refuse="),
        ({"admin": "tcp://127.0.0.1:9000"}, "must be a local socket"),
    ],
)
def test_a_wrong_argument_is_refused_by_its_name(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(te.ConfigurationError) as caught:
        te.Edge("tcp://127.0.0.1:0", [], Forward("tcp://127.0.0.1:1"), **wrong)  # type: ignore[arg-type]
    assert says in str(caught.value)


@pytest.mark.parametrize(("given", "known"), [(None, socket.gethostname()), ("edge-7", "edge-7")])
def test_reports_know_an_edge_by_its_name_else_by_the_machines(given: str | None, known: str) -> None:
    assert te.Edge("tcp://127.0.0.1:0", [], Forward("tcp://127.0.0.1:1"), name=given).name == known
