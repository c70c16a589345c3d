"""Spans as plain data."""

from typing import Any

import pytest
import trioedge as te
from hypothesis import given
from hypothesis import strategies as st
from sessions import batch_of, ended

from trioedge_otel.outline import outline_of, place

LOCAL = {"source": "unix", "listener": "unix:///run/e.sock"}
START = 1_700_000_100 * 10**9


def test_a_session_that_ran_has_its_times_and_addresses_by_semantic_conventions() -> None:
    upstream = te.Address("tcp", "10.0.0.9", 6379)
    end = ended(7, upstream=upstream, connected=0.5, device="phone", destination="tcp://10.0.0.9:6379")
    outline = outline_of(end, batch_of(end))
    assert (outline.starts_at, outline.ends_at, outline.error) == (START, START + 2 * 10**9, None)
    assert outline.attributes == {
        "client.address": "192.0.2.1", "network.peer.address": "192.0.2.7", "network.transport": "tcp",
        "network.type": "ipv4", "server.address": "127.0.0.1", "server.port": 6380, "destination.address": "10.0.0.9",
        "destination.port": 6379, "trioedge.session": 7, "trioedge.service": "shop", "trioedge.device": "phone",
        "trioedge.destination": "tcp://10.0.0.9:6379", "trioedge.outcome": "ended", "trioedge.reason": "finished",
        "trioedge.bytes_up": 3, "trioedge.bytes_down": 4,
    }  # fmt: skip
    assert outline.events == (
        ("Gate", START + 1_000, {"trioedge.answer": "continue", "trioedge.nanoseconds": 1_000}),
        ("Token", START + 3_000, {"trioedge.answer": "continue", "trioedge.nanoseconds": 2_000}),
        ("upstream connected", START + 5 * 10**8, {}),
    )


@pytest.mark.parametrize(
    ("trace", "answers"),
    [
        ((~1_000,), [("Gate", 1_000, "refuse")]),
        ((1_000, ~500), [("Gate", 1_000, "continue"), ("Token", 1_500, "refuse")]),
        ((1_000,), [("Gate", 1_000, "continue"), ("Token", 2 * 10**9, "refuse")]),
        ((1_000, 500), [("Gate", 1_000, "continue"), ("Token", 1_500, "continue"), ("Forward", 2 * 10**9, "refuse")]),
        ((), [("Gate", 2 * 10**9, "refuse")]),
        (None, []),
    ],
)
def test_the_stage_that_refused_is_an_event(trace: Any, answers: list[tuple[str, int, str]]) -> None:
    end = ended(outcome=te.Reject(te.Reason.RATE, "too many"), trace=trace)
    outline = outline_of(end, batch_of(end))
    assert [(name, at - START, facts["trioedge.answer"]) for name, at, facts in outline.events] == answers
    assert (outline.attributes["trioedge.outcome"], outline.attributes["trioedge.reason"]) == ("refused", "rate")
    assert (outline.attributes["trioedge.detail"], outline.error) == ("too many", None)


@pytest.mark.parametrize("reason", te.Reason)
def test_faults_and_failures_of_the_upstream_are_errors_and_nothing_else_is(reason: te.Reason) -> None:
    end = ended(outcome=te.Completed(reason, "why"))
    outline = outline_of(end, batch_of(end))
    failed = reason == "fault" or reason.startswith("upstream_")
    assert outline.error == ("why" if failed else None)
    assert outline.attributes.get("error.type") == (reason.value if failed else None)


def test_an_error_without_words_has_those_of_its_reason() -> None:
    end = ended(outcome=te.Completed(te.Reason.UPSTREAM_TIMEOUT))
    assert outline_of(end, batch_of(end)).error == "upstream_timeout"


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"source": "2001:db8::1"}, {"network.type": "ipv6", "client.address": "2001:db8::1"}),
        (LOCAL, {"network.transport": "unix", "server.address": "/run/e.sock"}),
        ({"upstream": te.Address("unix", path="/run/redis.sock")}, {"destination.address": "/run/redis.sock"}),
        ({"listener": "tcp://[::1]:80"}, {"server.address": "::1", "server.port": 80}),
    ],
)  # fmt: skip
def test_addresses_of_other_kinds(changes: dict[str, Any], seen: dict[str, Any]) -> None:
    end = ended(**changes)
    attributes = outline_of(end, batch_of(end)).attributes
    assert {name: attributes.get(name) for name in seen} == seen
    if end.source == "unix":
        assert "network.type" not in attributes
        assert "server.port" not in attributes


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("tcp://127.0.0.1:80", ("127.0.0.1", 80)),
        ("tcp://[fe80::1%eth0]:9000", ("fe80::1%eth0", 9000)),
        ("tcp://redis.internal:6379", ("redis.internal", 6379)),
        ("unix:///run/a:b.sock", ("/run/a:b.sock", 0)),
    ],
)
def test_the_place_of_an_address(address: str, found: tuple[str, int]) -> None:
    assert place(address) == found


@given(
    st.lists(st.integers(-(10**12), 10**12), max_size=5),
    st.floats(0, 10**6),
    st.one_of(st.none(), st.floats(0, 10**6)),
    st.sampled_from(list(te.Reason)),
    st.booleans(),
)
def test_no_event_is_outside_of_its_span_and_each_comes_after_the_one_before(
    trace: list[int], seconds: float, connected: float | None, reason: te.Reason, refused: bool
) -> None:
    outcome: te.Outcome = te.Reject(reason) if refused else te.Completed(reason)
    end = ended(outcome=outcome, trace=trace, seconds=seconds, connected=connected, ended_at=seconds)
    outline = outline_of(end, batch_of(end))
    times = [at for _, at, _ in outline.events]
    assert all(outline.starts_at <= at <= outline.ends_at for at in times)
    stages = times[: len(times) - (connected is not None)]
    assert stages == sorted(stages)
    assert all(isinstance(value, (str, int)) for value in outline.attributes.values())
