"""Relays over memory streams, each between a client and an upstream whose streams a test has."""

from collections.abc import Callable
from math import inf

import trio
import trio.testing

from tests.support.reactors import open_reactor
from trioedge.relay.stream_relay import StreamRelay
from trioedge.session.allowance import Allowance
from trioedge.session.verdict import Outcome
from trioedge.testing import make_session

MakePair = Callable[[], tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]]


class MemoryRelay:
    """A client and an upstream in memory, with a relay between them.

    Attributes:
        client: the client's end of its connection.
        upstream: the upstream's end of its connection.
        session: the session, in a service of its own.
        relay: its relay.
        outcome: what the relay returned; None while it runs.
    """

    def __init__(
        self, nursery: trio.Nursery, pair: MakePair = trio.testing.memory_stream_pair,
        *, allowance: Allowance | None = None, down_rate: float = inf, up_rate: float = inf,
    ) -> None:  # fmt: skip
        self.client, self.down = pair()
        self.upstream, self.up = pair()
        self.session = make_session(now=trio.current_time())
        self.session.allowance = allowance
        self.session.pace(down_rate, up_rate)
        self.outcome: Outcome | None = None
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        async with open_reactor() as reactor:
            self.session.carrier = self.relay = StreamRelay(self.session, reactor, self.down, self.up)
            try:
                self.outcome = await self.relay.run()
            finally:
                for stream in (self.down, self.up):
                    await trio.aclose_forcefully(stream)
