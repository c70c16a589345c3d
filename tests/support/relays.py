"""Relays in a real reactor, each between a client and an upstream whose sockets a test has."""

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import TypeAlias

import attrs
import trio
import trio.testing

from tests.support.reactors import open_reactor
from tests.support.wires import tcp_pair
from trioedge.loop.reactor import Reactor
from trioedge.relay.socket_relay import Relay
from trioedge.session.allowance import Allowance
from trioedge.session.meter import Meter
from trioedge.session.session import Session
from trioedge.session.verdict import Outcome, Reason
from trioedge.testing import make_session

Ends: TypeAlias = tuple[socket.socket, socket.SocketType]


@attrs.define(eq=False)
class Wire:
    """A client and an upstream with a relay between them.

    Attributes:
        client: the client's end of its connection.
        upstream: the upstream's end of its connection.
        session: the session, in a service of its own.
        relay: its relay.
        outcomes: what the relay said at the end; more than one is a fault.
        over: set at the end.
    """

    client: socket.socket
    upstream: socket.socket
    session: Session
    relay: Relay = attrs.field(init=False)
    outcomes: list[Outcome] = attrs.field(factory=list)
    over: trio.Event = attrs.field(factory=trio.Event)

    def ended(self, session: Session, outcome: Outcome) -> None:
        assert session is self.session
        self.outcomes.append(outcome)
        self.over.set()


class Wires:
    """The wires of one test, over one reactor."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.made: list[Wire] = []

    def connect(
        self, *, prefetched: bytes = b"", spoken: bytes = b"", greeting: bytes = b"", up_meter: Meter | None = None,
        allowance: Allowance | None = None, down_rate: float = inf, up_rate: float = inf,
        local: bool = False, client_pair: Ends | None = None, upstream_pair: Ends | None = None, **limits: float,
    ) -> Wire:  # fmt: skip
        """Begin a relay.

        Args:
            prefetched: what a stage has read from the client.
            spoken: what the client has sent behind that before the relay begins.
            greeting: what the upstream has sent, its event having passed.
            up_meter: counts the service's bytes to the upstream.
            allowance: as `Session` has it.
            down_rate: as `Session` has it.
            up_rate: as `Session` has it.
            local: whether all are local sockets.
            client_pair: the client's socket and the relay's, if they are no plain ones.
            upstream_pair: the same of the upstream.
            limits: `idle_seconds` and `half_closed_seconds` of the session.
        """
        client, down = client_pair or (local_pair() if local else tcp_pair())
        upstream, up = upstream_pair or (local_pair() if local else tcp_pair())
        if greeting:
            upstream.send(greeting)
        client.send(spoken)
        session = make_session(now=trio.current_time())
        session.allowance = allowance
        session.pace(down_rate, up_rate)
        for name, seconds in limits.items():
            setattr(session, name, seconds)
        if up_meter is not None:
            session.service.up = up_meter
        wire = Wire(client, upstream, session)
        self.made.append(wire)
        self.reactor.refresh()
        session.carrier = wire.relay = Relay(session, self.reactor, down, up, wire.ended)
        self.reactor.add(up.fileno(), wire.relay.up)
        wire.relay.down.read_on |= local
        wire.relay.start(prefetched, readable=bool(greeting) or local)
        return wire

    def close(self) -> None:
        """Cut every relay, and close the other ends."""
        for wire in self.made:
            wire.relay.cut(Reason.DRAINED)
            wire.client.close()
            wire.upstream.close()
        self.made.clear()


@asynccontextmanager
async def open_wires() -> AsyncIterator[Wires]:
    """Run a reactor for the length of the block, then close what is left of its wires."""
    async with open_reactor() as reactor:
        wires = Wires(reactor)
        try:
            yield wires
        finally:
            wires.close()


async def settle() -> None:
    """Let the kernel and the reactor finish what is under way; for tests whose clock is a mock."""
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(time.sleep, 0.02)
    await trio.testing.wait_all_tasks_blocked()


def local_pair() -> tuple[socket.socket, socket.socket]:
    """Give two connected local sockets, which do not block."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    return near, far
