"""A user's outbound that is refused: retried as the reactor's connects are, under the fake clock."""

import errno
from typing import Any

import pytest
import trio
import trio.testing

import trioedge as te
from trioedge.addresses.address import Address, parse_address
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_context
from trioedge.upstreams.connector import Target
from trioedge.upstreams.outbound import TaskConnector

WHERE = parse_address("tcp://192.0.2.9:80")


class Restarting:
    """Connects from a time on, and refuses until then."""

    def __init__(self, seconds: float, error: Exception | None = None) -> None:
        self._from = trio.current_time() + seconds
        self._error = error or ConnectionRefusedError(errno.ECONNREFUSED, "x")
        self.tries = 0

    async def connect(self, address: Address) -> Any:
        self.tries += 1
        if trio.current_time() < self._from:
            raise self._error
        return trio.testing.memory_stream_pair()[0]


def task_connector(way: Restarting) -> TaskConnector:
    return TaskConnector(way, make_context().resolver, EdgeLog())


async def test_a_connect_that_is_refused_for_half_a_second_is_retried(autojump_clock: trio.testing.MockClock) -> None:
    way = Restarting(0.5)
    await task_connector(way).open_stream(Target(WHERE, 5.0))
    assert (way.tries, round(trio.current_time(), 3)) == (4, 0.7)


@pytest.mark.parametrize(("seconds", "retries", "tries"), [(5.0, 2, 3), (5.0, 0, 1), (0.25, 5, 2)])
async def test_retries_end_with_their_number_or_before_the_limit(
    seconds: float, retries: int, tries: int, autojump_clock: trio.testing.MockClock
) -> None:
    way = Restarting(60)
    with pytest.raises(te.UpstreamError, match="Connection refused"):
        await task_connector(way).open_stream(Target(WHERE, seconds, retries=retries))
    assert way.tries == tries


async def test_another_error_than_a_refusal_is_not_retried(autojump_clock: trio.testing.MockClock) -> None:
    way = Restarting(0.5, OSError(errno.ENETUNREACH, "x"))
    with pytest.raises(te.UpstreamError, match="Network is unreachable"):
        await task_connector(way).open_stream(Target(WHERE, 5.0))
    assert way.tries == 1


async def test_a_cancel_while_it_pauses_ends_it_and_connects_no_more(autojump_clock: trio.testing.MockClock) -> None:
    way = Restarting(60)
    with trio.move_on_after(0.15) as scope:
        await task_connector(way).open_stream(Target(WHERE, 5.0))
    assert (scope.cancelled_caught, way.tries) == (True, 2)
    await trio.sleep(10)
    assert way.tries == 2
