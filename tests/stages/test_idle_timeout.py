from math import nan
from typing import Any

import pytest

from tests.strategies import make_session
from trioedge.errors import ConfigurationError
from trioedge.session.verdict import CONTINUE
from trioedge.stages.idle_timeout import IdleTimeout


@pytest.mark.parametrize(
    ("stage", "seconds", "half_closed_seconds"),
    [
        (IdleTimeout(300), 300, 60),
        (IdleTimeout(60), 60, 60),
        (IdleTimeout(5), 5, 5),
        (IdleTimeout(0.5, half_closed_seconds=90), 0.5, 90),
        (IdleTimeout(300, half_closed_seconds=0.25), 300, 0.25),
    ],
)
def test_the_limits_are_written_into_the_session(
    stage: IdleTimeout, seconds: float, half_closed_seconds: float
) -> None:
    session = make_session()
    assert stage.decide(session) is CONTINUE
    assert (session.idle_seconds, session.half_closed_seconds) == (seconds, half_closed_seconds)


def test_without_it_the_limits_are_ten_minutes_and_one() -> None:
    assert (make_session().idle_seconds, make_session().half_closed_seconds) == (600, 60)


@pytest.mark.parametrize("argument", ["seconds", "half_closed_seconds"])
@pytest.mark.parametrize("value", [0, -1, nan, "600", [600]])
def test_a_bad_argument_is_named_and_quoted(argument: str, value: object) -> None:
    arguments: dict[str, Any] = {"seconds": 600, argument: value}
    with pytest.raises(ConfigurationError) as refusal:
        IdleTimeout(**arguments)
    assert str(refusal.value).startswith(f"IdleTimeout({argument}={value!r}) must be ")


def test_it_prints_as_it_was_written() -> None:
    assert repr(IdleTimeout(0.5)) == "IdleTimeout(seconds=0.5, half_closed_seconds=0.5)"
    assert repr(IdleTimeout(300)) == "IdleTimeout(seconds=300, half_closed_seconds=60)"
