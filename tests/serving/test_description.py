"""Tests of the arguments of an edge: the values that are refused, and the words."""

import socket
from pathlib import Path

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
        ({"source_prefix": (64, 32)}, "Edge(source_prefix=(64, 32)) must be the prefix lengths of IPv4, 1 to 32, and"),
        ({"admin": "tcp://127.0.0.1:9000"}, "is open to a network and needs a token"),
        ({"control": te.FileControl}, "control=FileControl is a class: call it, FileControl(…)"),
        ({"control": {"a": te.Policy()}}, "is no control plane: write control=te.MemoryControl({…})"),
        ({"control": "users.toml"}, "='users.toml' is no control plane: write control=te.FileControl('users.toml')"),
        ({"control": Path("a.toml")}, "is no control plane: write control=te.FileControl('a.toml')"),
        ({"control": 5}, "control=5 is no control plane: it needs async run(link)"),
        ({"open_ports": "tcp://0.0.0.0:1-9"}, "Edge(open_ports=…) does nothing, because the edge has no control plane"),
        ({"open_ports": "1-9", "control": te.MemoryControl()}, "Edge(open_ports=…): '1-9' is no port and no range"),
        ({"open_ports": [], "control": te.MemoryControl()}, "Edge(open_ports=[]) names no port"),
        ({"name": 5}, "Edge(name=5) must be printable text, as in 'edge-1'"),
        ({"name": ""}, "Edge(name='') must be printable text"),
        ({"name": "edge\n1"}, "Edge(name='edge\\n1') must be printable text"),
    ],
)
def test_a_wrong_argument_is_refused_by_its_name(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(te.ConfigurationError) as caught:
        te.Edge("tcp://127.0.0.1:0", [], Forward("tcp://127.0.0.1:1"), **wrong)  # type: ignore[arg-type]
    assert says in str(caught.value)


@pytest.mark.parametrize(("given", "known"), [(None, socket.gethostname()), ("edge-7", "edge-7")])
def test_reports_know_an_edge_by_its_name_else_by_the_machines(given: str | None, known: str) -> None:
    assert te.Edge("tcp://127.0.0.1:0", [], Forward("tcp://127.0.0.1:1"), name=given).name == known


@pytest.mark.parametrize(
    "stage",
    [
        te.SessionGate(1, per="source/56"),
        te.ConcurrencyLimit(1, per="peer/56"),
        te.DeviceLimit(key="source/56"),
    ],
)
def test_a_limit_that_counts_wider_prefixes_than_the_edge_is_refused(stage: object) -> None:
    name = type(stage).__name__
    with pytest.raises(te.ConfigurationError) as caught:
        te.Edge("tcp://127.0.0.1:0", [te.IdleTimeout(5), stage], Forward("tcp://127.0.0.1:1"))
    assert str(caught.value) == (
        f"stage 2 ({name}) counts sources by /56, which is coarser than the edge's /64: give it a longer prefix, or "
        "the edge source_prefix=(32, 56)"
    )
    te.Edge("tcp://127.0.0.1:0", [stage], Forward("tcp://127.0.0.1:1"), source_prefix=(32, 56))


def test_a_control_plane_whose_came_would_wait_is_refused() -> None:
    class Waits(te.MemoryControl):
        async def came(self, service: str, device: str, /) -> None: ...

        def went(self, service: str, device: str, /) -> None: ...

    with pytest.raises(te.ConfigurationError, match=r"has an async came or went, and these cannot wait: write def$"):
        te.Edge("tcp://127.0.0.1:0", [], Forward("tcp://127.0.0.1:1"), control=Waits())
