"""Connect through upstream proxies, while an edge serves."""

import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import trio

from ...addresses.address import Address
from ...services.context import EdgeContext
from ...session.verdict import Reason
from ..address_filter import RulesFilter
from ..attempt import Attempt, ConnectCallback
from ..connector import Connector, Target
from ..errors import UpstreamError
from ..outbound import resolved, retried
from .proxy_chain import ProxyChain, ProxyReplyError
from .proxy_url import ProxyUrl

MAX_ADDRESSES: Final = 4
"""Addresses of one name that the last proxy is asked for, one after the other."""


class LiveVia:
    """An outbound through proxies. A session waits for it in a task of its own."""

    plain = False

    def __init__(
        self, proxies: Sequence[ProxyUrl], context: EdgeContext, tls: ssl.SSLContext | None, *, remote_names: bool
    ) -> None:
        """Connect nothing yet.

        Args:
            proxies: at least one.
            context: the running edge.
            tls: for proxies that are ``https://``; a default one if None.
            remote_names: let the last proxy resolve names.
        """
        self._connector = Connector(context.reactor, context.resolver)
        self._resolver = context.resolver
        self._remote_names = remote_names
        self._last = proxies[-1]
        self._chain = ProxyChain(proxies, self._connector, tls)

    def warm(self, target: Target, failed: Callable[[UpstreamError], object]) -> None:
        """Resolve the destination's name before the first connect, unless a proxy resolves it."""
        if not self._leaves(target):
            self._connector.warm(target, failed)

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:  # noqa: ARG002 - a protocol's shape
        """Raise RuntimeError: there is :meth:`open_stream` only."""
        raise RuntimeError("Via connects in a task")

    async def open_stream(self, target: Target) -> trio.abc.HalfCloseableStream:
        """Connect within the target's seconds; after a cancel nothing is left open.

        Raises:
            UpstreamError: there is no connection.
        """
        if target.address.scheme != "tcp":
            raise UpstreamError(Reason.UPSTREAM_UNREACHABLE, f"{target.address}: a proxy leads to no local socket")
        with trio.move_on_after(target.seconds):
            hosts = await self._hosts(target)
            return await retried(partial(self._connect, target.address, hosts), target)
        raise UpstreamError(Reason.UPSTREAM_TIMEOUT, f"{target.address}: no connection in time, via {self._last}")

    def _leaves(self, target: Target) -> bool:
        """Return whether the last proxy resolves the name; not one whose addresses a session's rules judge."""
        return self._remote_names and not target.address.literal and not isinstance(target.permit, RulesFilter)

    async def _hosts(self, target: Target) -> list[str]:
        """Give what the last proxy is asked for: the name, or the addresses that may be connected to."""
        if self._leaves(target):
            return [target.address.host]
        answer = await resolved(self._resolver, target.address, target.asker)
        answer = target.permitted(answer)
        if isinstance(answer, UpstreamError):
            raise answer
        hosts = [
            str(where[0]).partition("%")[0]  # type: ignore[index]  # host and port; an interface is of this machine
            for family, where in answer
            if self._knows(family)
        ]
        if not hosts:
            raise UpstreamError(Reason.UPSTREAM_UNREACHABLE, f"{target.address}: SOCKS4 has no IPv6, via {self._last}")
        return hosts[:MAX_ADDRESSES]

    def _knows(self, family: socket.AddressFamily) -> bool:
        return family == socket.AF_INET or self._last.scheme != "socks4"

    async def _connect(self, address: Address, hosts: Sequence[str]) -> trio.abc.HalfCloseableStream:
        for host in hosts[:-1]:
            try:
                return await self._chain.connect(host, address.port)
            except ProxyReplyError as error:
                if error.reason not in (Reason.UPSTREAM_REFUSED, Reason.UPSTREAM_UNREACHABLE):
                    raise
        return await self._chain.connect(hosts[-1], address.port)
