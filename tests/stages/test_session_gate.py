from math import nan
from typing import Any

import pytest

from tests.strategies import make_session
from trioedge.core.errors import ConfigurationError
from trioedge.core.verdict import CONTINUE, Reason, Reject, Verdict
from trioedge.stages.session_gate import SessionGate

TOO_FAST = Reject(Reason.RATE, "more than 1 sessions a second per service")


def answers(gate: SessionGate, *sessions: dict[str, Any]) -> list[Verdict]:
    return [gate.decide(make_session(**session)) for session in sessions]


def test_a_burst_then_the_rate_by_the_time_each_session_started() -> None:
    gate = SessionGate(1, burst=2)
    moments = [0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 10.0, 10.0, 10.0]
    assert answers(gate, *({"started_at": moment} for moment in moments)) == [
        *(CONTINUE, CONTINUE, TOO_FAST),
        *(TOO_FAST, CONTINUE, TOO_FAST),
        *(CONTINUE, CONTINUE, TOO_FAST),
    ]


def test_a_burst_is_32_unless_said() -> None:
    assert answers(SessionGate(1), *[{}] * 33) == [CONTINUE] * 32 + [TOO_FAST]


def test_each_service_has_a_gate_of_its_own() -> None:
    gate = SessionGate(1, burst=1)
    one, other = {"service": "one"}, {"service": "other", "source": "192.0.2.2"}
    elsewhere = one | {"source": "192.0.2.2"}
    assert answers(gate, one, elsewhere, other, other) == [CONTINUE, TOO_FAST, CONTINUE, TOO_FAST]


def test_each_source_has_a_gate_of_its_own() -> None:
    gate = SessionGate(2.5, burst=1, per="source")
    one, other = {"source": "192.0.2.1"}, {"source": "192.0.2.2"}
    too_fast = Reject(Reason.RATE, "more than 2.5 sessions a second per source")
    assert answers(gate, one, one | {"service": "tenant"}, other, one) == [CONTINUE, too_fast, CONTINUE, too_fast]


def test_beyond_its_capacity_a_new_key_is_refused() -> None:
    gate = SessionGate(1, burst=2, per="source", capacity=1)
    one, other = {"source": "192.0.2.1"}, {"source": "192.0.2.2"}
    full = Reject(Reason.CAPACITY, "1 keys of the session gate are active")
    assert answers(gate, one, other, one) == [CONTINUE, full, CONTINUE]


def test_it_needs_the_service_it_counts_by() -> None:
    assert SessionGate(1).needs == ("service",)
    assert SessionGate(1, per="source").needs == ()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("rate", value) for value in (0, -1, nan, "200", None)),
        *(("burst", value) for value in (0, -1, 1.5, "32", None)),
        *(("per", value) for value in ("device", "", None)),
        *(("capacity", value) for value in (0, -1, 1.5, None)),
    ],
)
def test_a_bad_argument_is_named_and_quoted(argument: str, value: object) -> None:
    arguments: dict[str, Any] = {"rate": 200, argument: value}
    with pytest.raises(ConfigurationError) as refusal:
        SessionGate(**arguments)
    assert str(refusal.value).startswith(f"SessionGate({argument}={value!r}) must be ")


def test_it_prints_as_it_was_written() -> None:
    assert repr(SessionGate(200)) == "SessionGate(rate=200, burst=32, per='service')"
    assert repr(SessionGate(0.5, 1, "source")) == "SessionGate(rate=0.5, burst=1, per='source')"
