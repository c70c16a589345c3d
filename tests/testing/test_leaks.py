import socket
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trioedge.testing.leaks import Baseline, leaving_nothing


async def test_a_block_that_leaves_nothing_passes() -> None:
    async with leaving_nothing("it"):
        with socket.socket():
            await trio.lowlevel.checkpoint()


async def test_a_task_that_ends_a_moment_later_is_not_left(nursery: trio.Nursery) -> None:
    async with leaving_nothing("it"):
        nursery.start_soon(trio.lowlevel.checkpoint)


async def found_left_by(act: Callable[[], object]) -> str:
    with pytest.raises(AssertionError) as failure:
        async with leaving_nothing("it"):
            act()
    return str(failure.value)


async def test_a_task_that_goes_on_is_left(nursery: trio.Nursery) -> None:
    def start_two() -> None:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(trio.sleep_forever)

    assert await found_left_by(start_two) == "it left 2 tasks behind"
    nursery.cancel_scope.cancel()


async def test_an_open_socket_is_left() -> None:
    kept: list[socket.socket] = []
    assert await found_left_by(lambda: kept.append(socket.socket())) == "it left 1 file descriptors behind"
    kept.pop().close()


async def test_tasks_and_sockets_that_were_there_before_are_not_left(nursery: trio.Nursery) -> None:
    nursery.start_soon(trio.sleep_forever)
    with socket.socket():
        async with leaving_nothing("it"):
            await trio.lowlevel.checkpoint()
    nursery.cancel_scope.cancel()


async def test_fewer_than_before_is_nothing_left(nursery: trio.Nursery) -> None:
    nursery.start_soon(trio.sleep_forever)
    sock = socket.socket()
    async with leaving_nothing("it"):
        sock.close()
        nursery.cancel_scope.cancel()


def make_a_cycle() -> None:
    cycle: list[Any] = [socket.socket()]
    cycle.append(cycle)


@pytest.mark.parametrize("act", [socket.socket, make_a_cycle])
async def test_a_socket_that_only_the_garbage_collector_closes_is_left(act: Callable[[], object]) -> None:
    assert (await found_left_by(act)).startswith("it left it to the garbage collector to close: unclosed <socket.")


async def test_other_warnings_of_the_block_come_through() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with leaving_nothing("it"):
            warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["old"]


async def test_the_exception_of_a_block_comes_through() -> None:
    with pytest.raises(LookupError, match="bug"):
        async with leaving_nothing("it"):
            raise LookupError("bug")


async def test_a_baseline_can_be_compared_several_times(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    baseline = Baseline()
    await baseline.assert_nothing_left("it")
    nursery.start_soon(trio.sleep, 5)
    with pytest.raises(AssertionError, match="it left 1 tasks behind"):
        await baseline.assert_nothing_left("it")
    await trio.sleep(6)
    await baseline.assert_nothing_left("it")


async def test_a_cancel_of_the_block_leaves_the_filters_of_warnings_as_they_were() -> None:
    before = list(warnings.filters)
    with trio.CancelScope() as scope:
        async with leaving_nothing("it"):
            scope.cancel()
            await trio.sleep_forever()
    assert list(warnings.filters) == before
