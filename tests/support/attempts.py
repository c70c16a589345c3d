"""A connector with a reactor and fake names, and a callback that notes the end of an attempt."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from tests.support.names import NO_HOSTS, FakeNames
from trioedge.loop.reactor import Reactor
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams.connector import Connector
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.hosts_file import HostsFile
from trioedge.upstreams.resolver import Resolver


@attrs.define
class Noted:
    """A callback that notes what it is called with."""

    sock: socket.socket | None = None
    readable: bool | None = None
    error: UpstreamError | None = None
    called: trio.Event = attrs.field(factory=trio.Event)

    def connected(self, sock: socket.socket, readable: bool) -> None:
        assert not self.called.is_set()
        self.sock, self.readable = sock, readable
        self.called.set()

    def failed(self, error: UpstreamError) -> None:
        assert not self.called.is_set()
        self.error = error
        self.called.set()


@asynccontextmanager
async def open_connector(names: FakeNames | None = None) -> AsyncIterator[tuple[Connector, Reactor]]:
    async with open_reactor_and_resolver(names) as (reactor, resolver):
        yield Connector(reactor, resolver), reactor


@asynccontextmanager
async def open_reactor_and_resolver(names: FakeNames | None = None) -> AsyncIterator[tuple[Reactor, Resolver]]:
    reactor = Reactor(EdgeLog())
    resolver = Resolver(reactor, names or FakeNames(), HostsFile(NO_HOSTS))
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        await nursery.start(resolver.run)
        yield reactor, resolver
        nursery.cancel_scope.cancel()
