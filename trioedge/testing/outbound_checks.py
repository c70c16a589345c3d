"""The check of an outbound: whether it keeps the promises that the edge relies on."""

import socket
from typing import Any

import trio

from ..addresses.address import Address, parse_address
from ..edge import Edge
from ..relay.stream_relay import close_hard
from ..relay.streams import PlainStream
from ..services.context import EdgeContext
from ..session.kinds import name_of
from ..session.stage import Closing, Worker
from ..upstreams.connector import Connecting, Target
from ..upstreams.errors import UpstreamError
from ..upstreams.outbound import TaskConnector, as_stream, open_outbound, part_of
from ..upstreams.outbound import check_outbound as refuse_others
from .cancels import MAX_STEPS, cancel_before, without_cancels
from .checks import HOUR, Nowhere
from .leaks import Baseline, leaving_nothing
from .rehearsal import edge_for_check


async def check_outbound(outbound: object, address: str, *, refused: str | None = None) -> None:
    """Check an outbound in a trio test, within an edge that listens nowhere.

    It gives a connected socket or a stream, raises an `UpstreamError` or an `OSError` where there is no connection,
    passes on a cancel, whenever it comes, and leaves no task and nothing open. An outbound in memory is checked under
    a fake clock (`autojump_clock`); one with real sockets needs the real clock.

    Args:
        outbound: an object with ``async connect(address)``, or a recipe of one.
        address: ``tcp://host:port`` of an upstream that accepts every connection.
        refused: the address of an upstream that refuses; None to skip that check.

    Raises:
        AssertionError: names the promise that it broke.
        ConfigurationError: it is no outbound, or an address is none.
    """
    refuse_others(outbound, "check_outbound: outbound")
    watched = _WatchedOutbound(outbound)
    accepts, refuses = parse_address(address), None if refused is None else parse_address(refused)
    async with leaving_nothing(watched.name), edge_for_check(Edge("tcp://127.0.0.1:0", [], watched)):
        await watched.check(accepts, refuses)


class _WatchedOutbound(Nowhere):
    """An endpoint that opens the outbound under test, as `Forward` does, and ends every session."""

    def __init__(self, outbound: object) -> None:
        self.name = name_of(outbound)
        self._outbound = outbound
        self._connecting: Connecting | None = None

    def open(self, context: EdgeContext) -> "_WatchedOutbound":
        self._connecting = open_outbound(self._outbound, context)
        return self

    @property
    def _live(self) -> Any:
        return None if self._connecting is None else part_of(self._connecting)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        if isinstance(self._live, Worker):
            await self._live.run(task_status=task_status)
        else:
            task_status.started()

    def close(self) -> None:
        if isinstance(self._live, Closing):
            self._live.close()

    async def check(self, address: Address, refused: Address | None) -> None:
        await self._connects(address)
        baseline = Baseline()  # after the first connect, because the outbound may make something for all connects
        await self._connects(address)
        if refused is not None:
            await self._refuses(refused)
        await baseline.assert_nothing_left(self.name)
        for step in range(1, MAX_STEPS):
            if not await self._is_cancelled_before(step, address):
                break
        await baseline.assert_nothing_left(self.name)

    async def _connect(self, address: Address) -> object:
        """Connect as the edge does, which knows its own outbounds by another method."""
        if isinstance(self._connecting, TaskConnector):
            return await self._connecting.outbound.connect(address)
        assert self._connecting is not None
        return await self._connecting.open_stream(Target(address, HOUR, retries=0))

    async def _connects(self, address: Address) -> None:
        try:
            connection = await self._connect(address)
        except Exception as fault:
            raise AssertionError(f"{self.name} raised {fault!r} for {address}, which accepts") from fault
        await self._close(connection)

    async def _refuses(self, address: Address) -> None:
        try:
            connection = await self._connect(address)
        except (UpstreamError, OSError):
            return
        except Exception as fault:
            raise AssertionError(
                f"{self.name} raised {fault!r} where there is no connection: raise UpstreamError or OSError"
            ) from fault
        await self._close(connection)
        raise AssertionError(f"{self.name} gave a connection to {address}, which refuses: raise UpstreamError")

    async def _is_cancelled_before(self, step: int, address: Address) -> bool:
        """Cancel a connect before a step; False when it was done before that."""
        connection: object = None
        with trio.CancelScope() as scope, cancel_before(step, scope) as counter:
            try:
                connection = await self._connect(address)
            except BaseException as fault:
                if (other := without_cancels(fault)) is not None:
                    raise AssertionError(f"{self.name} made {other!r} of a cancel") from fault
                raise
        if not scope.cancelled_caught:
            await self._close(connection)
        return counter.reached

    async def _close(self, connection: object) -> None:
        """Check that it is a connection, and close it."""
        try:
            stream = as_stream(connection, f"{self.name} returned")
        except UpstreamError as error:
            raise AssertionError(error.detail) from error
        connected = not isinstance(stream, PlainStream) or _is_connected(stream.socket)
        await close_hard(stream)
        assert connected, f"{self.name} returned a socket that is not connected"


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
