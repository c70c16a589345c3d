"""How long a session may wait: a table of its states."""

from math import inf
from typing import Any

import pytest

from trioedge.endpoints.asgi.patience import GONE_SECONDS, Moment, Patience, Wait, due

LIMITS = Patience(head_seconds=10, keep_alive_seconds=30, write_seconds=20)


def moment(**changes: Any) -> Moment:
    state = {
        "began_at": 100.0, "active_at": 105.0, "rested_at": None, "busy": False, "owes": False, "paused": False,
        "over_at": None, "idle_seconds": 600.0,
    }  # fmt: skip
    return Moment(**state | changes)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, (110, Wait.HEAD, 10)),
        ({"active_at": 109.0}, (110, Wait.HEAD, 10)),  # a byte at a time wins nothing
        ({"rested_at": 107.0}, (137, Wait.KEEP_ALIVE, 30)),
        ({"rested_at": 107.0, "active_at": 130.0}, (137, Wait.KEEP_ALIVE, 30)),
        ({"busy": True}, (705, Wait.REQUEST, 600)),
        ({"busy": True, "idle_seconds": 4.0}, (109, Wait.REQUEST, 4)),
        ({"busy": True, "rested_at": 101.0}, (705, Wait.REQUEST, 600)),
        ({"busy": True, "owes": True}, (125, Wait.WRITE, 20)),
        ({"busy": True, "owes": True, "idle_seconds": 3.0}, (108, Wait.WRITE, 3)),
        ({"owes": True, "rested_at": 104.0, "over_at": 104.0}, (125, Wait.WRITE, 20)),
        ({"busy": True, "paused": True}, (800, Wait.REQUEST, 600)),
        ({"busy": True, "owes": True, "paused": True}, (220, Wait.WRITE, 20)),
        ({"busy": True, "over_at": 106.0}, (106 + GONE_SECONDS, Wait.GONE, GONE_SECONDS)),
        ({"over_at": 106.0}, (inf, Wait.NONE, inf)),
    ],
)
def test_a_session_is_waited_for(state: dict[str, Any], expected: tuple[float, Wait, float]) -> None:
    assert due(LIMITS, moment(**state), 200.0) == expected
