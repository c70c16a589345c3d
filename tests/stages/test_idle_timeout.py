from math import inf, nan
from typing import Any

import pytest

import trioedge as te
from trioedge.errors import ConfigurationError
from trioedge.session.verdict import CONTINUE
from trioedge.stages.idle_timeout import IdleTimeout
from trioedge.testing import check_decision, make_session


@pytest.mark.parametrize(
    ("stage", "seconds", "half_closed_seconds"),
    [
        (IdleTimeout(300), 300, 60),
        (IdleTimeout(60), 60, 60),
        (IdleTimeout(inf), inf, 60),
        (IdleTimeout(5), 5, 5),
        (IdleTimeout(0.5, half_closed_seconds=90), 0.5, 90),
        (IdleTimeout(300, half_closed_seconds=0.25), 300, 0.25),
    ],
)
def test_the_limits_are_written_into_the_session(
    stage: IdleTimeout, seconds: float, half_closed_seconds: float
) -> None:
    check_decision(stage)
    session = make_session()
    assert stage.decide(session) is CONTINUE
    assert (session.idle_seconds, session.half_closed_seconds) == (seconds, half_closed_seconds)


def test_without_the_stage_the_limits_are_600_and_60_seconds() -> None:
    assert (make_session().idle_seconds, make_session().half_closed_seconds) == (600, 60)


@pytest.mark.parametrize("argument", ["seconds", "half_closed_seconds"])
@pytest.mark.parametrize("value", [0, -1, nan, "600", [600]])
def test_a_bad_argument_is_named_and_quoted(argument: str, value: object) -> None:
    arguments: dict[str, Any] = {"seconds": 600, argument: value}
    with pytest.raises(ConfigurationError) as refusal:
        IdleTimeout(**arguments)
    assert str(refusal.value).startswith(f"IdleTimeout({argument}={value!r}) must be ")


def test_a_timeout_before_an_endpoint_without_the_relay_of_the_edge_is_refused_at_start() -> None:
    async def echo(session: te.Session) -> te.Outcome:
        return te.Completed()

    with pytest.raises(ConfigurationError, match=r"stage 1 \(IdleTimeout\) does nothing before an endpoint that moves"):
        te.Edge("tcp://127.0.0.1:0", [IdleTimeout(300)], echo)
    te.Edge("tcp://127.0.0.1:0", [IdleTimeout(300)], te.Forward("tcp://192.0.2.9:1"))


def test_a_timeout_prints_its_limits() -> None:
    assert repr(IdleTimeout(0.5)) == "IdleTimeout(seconds=0.5, half_closed_seconds=0.5)"
    assert repr(IdleTimeout(300)) == "IdleTimeout(seconds=300, half_closed_seconds=60)"
