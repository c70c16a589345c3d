import pytest

from trioedge.relay.idle import idle_limit
from trioedge.testing import make_session


@pytest.mark.parametrize(
    ("idle", "half_closed", "limits"),
    [(600.0, 60.0, (600.0, 60.0)), (10.0, 60.0, (10.0, 10.0)), (60.0, 60.0, (60.0, 60.0))],
)
def test_a_half_closed_session_has_the_shorter_of_its_two_limits(
    idle: float, half_closed: float, limits: tuple[float, float]
) -> None:
    session = make_session()
    session.idle_seconds, session.half_closed_seconds = idle, half_closed
    assert (idle_limit(session, half_closed=False), idle_limit(session, half_closed=True)) == limits
