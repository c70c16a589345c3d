"""An upstream in memory that answers, is late, refuses or stays silent, as its test wants it."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio
import trio.testing

from ..addresses.address import Address
from ..services.context import EdgeContext
from ..session.verdict import Reason
from ..upstreams.attempt import Attempt, ConnectCallback
from ..upstreams.connector import Target
from ..upstreams.errors import UpstreamError

Script: TypeAlias = Callable[[trio.abc.HalfCloseableStream], Awaitable[object]]


async def echo(stream: trio.abc.HalfCloseableStream) -> None:
    """Send everything back, then finish."""
    while data := await stream.receive_some(65536):
        await stream.send_all(data)
    await stream.send_eof()


class ScriptedUpstream:
    """The outbound of a rehearsed edge: every connection reaches a script, whatever address it asks for.

    Attributes:
        script: runs once for each connection, which is closed when it returns; change it at any time.
        refusal: the reason every connect fails with, or None to accept.
        connect_seconds: how long a connect takes, infinity for never.
        asked: the addresses that were asked for, in order, refused ones included.
    """

    plain = False

    def __init__(
        self,
        script: Script = echo,
        *,
        refusal: Reason | None = None,
        connect_seconds: float = 0.0,
        lockstep: bool = False,
    ) -> None:
        """Describe the upstream.

        Args:
            script: as the attribute.
            refusal: as the attribute.
            connect_seconds: as the attribute.
            lockstep: hand over bytes only when the other side receives, as a full buffer would.
        """
        self.script = script
        self.refusal = refusal
        self.connect_seconds = connect_seconds
        self.asked: list[Address] = []
        self._lockstep = lockstep
        self._nursery: trio.Nursery | None = None

    def open(self, context: EdgeContext) -> "ScriptedUpstream":  # noqa: ARG002 - an outbound's shape
        """Make the outbound of a run: itself."""
        return self

    def warm(self, target: Target, failed: Callable[[UpstreamError], object]) -> None:
        """Do nothing: there is nothing to prepare."""

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:  # noqa: ARG002 - an outbound's shape
        """Refuse: a scripted upstream has no sockets."""
        raise RuntimeError("a scripted upstream has no sockets")

    async def open_stream(self, target: Target) -> trio.abc.HalfCloseableStream:
        """Connect after `connect_seconds`, or fail with `refusal`.

        Raises:
            UpstreamError: `refusal` is set, or `connect_seconds` are more than the target's seconds.
        """
        address = target.address
        self.asked.append(address)
        with trio.move_on_after(target.seconds) as scope:
            await trio.sleep(self.connect_seconds)
        if scope.cancelled_caught:
            raise UpstreamError(Reason.UPSTREAM_TIMEOUT, f"{address}: no connection in time")
        if self.refusal is not None:
            raise UpstreamError(self.refusal, f"{address}: as the test wants it")
        assert self._nursery is not None, "connected outside of open_edge()"
        ours, theirs = memory_pair(lockstep=self._lockstep)
        self._nursery.start_soon(self._play, theirs)
        return ours

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the scripts, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def _play(self, stream: trio.abc.HalfCloseableStream) -> None:
        try:
            await self.script(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the edge hung up on it
        finally:
            await trio.aclose_forcefully(stream)


def memory_pair(*, lockstep: bool) -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
    """Make the two ends of a connection in memory."""
    return trio.testing.lockstep_stream_pair() if lockstep else trio.testing.memory_stream_pair()
