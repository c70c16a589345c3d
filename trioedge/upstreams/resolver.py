"""A caching DNS resolver: sessions are answered from memory, and a worker asks the name servers.

Only the first session to a name waits for a query. The state of a name, and what `Resolver.ask` does:

| a name is | ask | until |
| --- | --- | --- |
| unknown | wait for a query | the query ends |
| fresh | answer from memory | its time to live ends |
| stale (RFC 8767) | answer from memory, query in the background | :data:`STALE_SECONDS` after that |
| absent (RFC 2308) | refuse from memory | the time that the servers give |
| failed | refuse from memory | :data:`FAILED_SECONDS` after the query |

A query that fails leaves a stale name stale; the next one follows after :data:`FAILED_SECONDS`.
"""

import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol, TypeAlias

import trio
from trio_util import AsyncBool

from ..addresses.address import Address
from ..loop.reactor import Reactor
from ..services.context import SocketAddress
from ..session.verdict import Reason
from .errors import UpstreamError
from .hosts_file import HostsFile
from .lookup import Absent, Found, Lookup, take_turns

QUERY_SECONDS: Final = 3.0
"""The timeout of a query, its wait in the queue included."""

MIN_SECONDS: Final = 1.0
MAX_SECONDS: Final = 3600.0
"""Bounds of the time to live of addresses."""

MAX_ABSENT_SECONDS: Final = 60.0
"""The longest time for which a name counts as absent."""

FAILED_SECONDS: Final = 1.0
"""The pause before the next query for a name after one that failed."""

STALE_SECONDS: Final = 86_400.0
"""How long addresses are used after their time to live when they cannot be renewed."""

HOSTS_SECONDS: Final = 5.0
"""The time to live of addresses from the hosts file."""

AT_ONCE: Final = 64
"""Queries at the same time; further names wait, first come, first served."""

CAPACITY: Final = 10_000
"""The most names in memory, beyond which the least recently used is evicted, and the most names being queried, beyond
which `Resolver.ask` refuses."""

ADDRESSES: Final = 32
"""The most addresses of one name: more than can be tried within any connect timeout."""

Answer: TypeAlias = tuple[SocketAddress, ...] | UpstreamError
OnAnswer: TypeAlias = Callable[[Answer], object]


class Names(Protocol):
    """The name servers as a resolver sees them: :class:`.name_servers.NameServers`, or a fake."""

    async def look_up(self, host: str, due: float, /) -> Lookup:
        """Query a name until `due`, in seconds of trio's clock. Must not raise; a timeout is a :class:`.Failed`."""


class _Known:
    """The cache entry of one name: its addresses, or the reason why it has none.

    `fresh_until` is never after `usable_until`, in seconds of the reactor's clock.
    """

    __slots__ = ("_answer", "_port", "failure", "fresh_until", "hosts", "usable_until")

    def __init__(self, hosts: tuple[str, ...], failure: str = "") -> None:
        self.hosts = hosts
        self.failure = failure
        self.fresh_until = self.usable_until = 0.0
        self._port = -1
        self._answer: tuple[SocketAddress, ...] = ()

    def answer(self, address: Address) -> Answer:
        """Give the answer for the port of `address`; the same object as last time if the port is the same."""
        if not self.hosts:  # a new exception each time, because one raised again and again grows its traceback
            return UpstreamError(Reason.UPSTREAM_UNRESOLVED, f"{address}: {self.failure}")
        if self._port != address.port:
            self._port = address.port
            self._answer = _socket_addresses(self.hosts, address.port)
        return self._answer


class Resolver:
    """Resolves destinations to socket addresses, from the hosts file first, then from the name servers."""

    def __init__(self, reactor: Reactor, names: Names | None = None, hosts: HostsFile | None = None) -> None:
        """Start with an empty cache; no file is read and no query sent before :meth:`run`.

        Args:
            reactor: the clock of the cache.
            names: sends the queries; by default to the servers in the system's `resolv.conf`.
            hosts: consulted before a query; by default the system's hosts file.
        """
        self._reactor = reactor
        if names is None:
            from .name_servers import NameServers  # takes 40 ms: only when an edge serves, not when it is described

            names = NameServers()
        self._names = names
        self._hosts = HostsFile() if hosts is None else hosts
        # `_known` has at most CAPACITY names, the least recently used first. `_asking` has every name that is being
        # queried, at most CAPACITY, with the callers that wait for it. Each of these names is in exactly one place:
        # in `_unseen` before the hosts file is consulted, then in `_queue` with the time when its query must end, then
        # with one of the `_workers`, at most AT_ONCE.
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, list[tuple[Address, OnAnswer]]] = {}
        self._unseen: list[str] = []
        self._queue: deque[tuple[str, float]] = deque()
        self._workers = 0
        self._turn = trio.Lock()
        self._asked = AsyncBool()  # set when a name is added to `_unseen`; cleared by the worker

    def __len__(self) -> int:
        """Names in memory, absent and failed ones included."""
        return len(self._known)

    def ask(self, address: Address, on_answer: OnAnswer) -> None:
        """Resolve a destination and call `on_answer`, before this returns if the answer is in memory.

        To have a name in memory before the first session comes, ask for it and ignore the answer.

        Args:
            address: the destination; IP addresses, local sockets and `localhost` need no query.
            on_answer: called once, with at most :data:`ADDRESSES` socket addresses in the order in which to try them,
                or with an :class:`.UpstreamError`. Not called when the worker is cancelled before it has an answer.
        """
        answer = local_answer(address)
        if answer is not None:
            on_answer(answer)
            return
        host, now = address.host, self._reactor.now
        known = self._known.get(host)
        if known is not None and now < known.usable_until:
            self._known.move_to_end(host)
            if known.fresh_until <= now and host not in self._asking:
                self._begin(host)
            on_answer(known.answer(address))
        elif host in self._asking or self._begin(host):
            self._asking[host].append((address, on_answer))
        else:
            on_answer(UpstreamError(Reason.CAPACITY, f"{address}: {CAPACITY} names are being queried already"))

    def _begin(self, host: str) -> bool:
        """Hand a name to the worker; False when it has CAPACITY names already."""
        if len(self._asking) >= CAPACITY:
            return False
        self._asking[host] = []
        self._unseen.append(host)
        self._asked.value = True
        return True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer the names that are asked for. After a cancel no socket is open, and no waiting caller is called."""
        await self._hosts.refresh()
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await self._asked.wait_value(True)
                self._asked.value = False
                await self._hosts.refresh()
                unseen, self._unseen = self._unseen, []
                due = trio.current_time() + QUERY_SECONDS
                for host in unseen:
                    if addresses := self._hosts.addresses(host):
                        self._store(host, Found(addresses, HOSTS_SECONDS))
                    else:
                        self._queue.append((host, due))
                for _ in range(min(len(self._queue), AT_ONCE - self._workers)):
                    self._workers += 1
                    nursery.start_soon(self._work)

    async def _work(self) -> None:
        """Query names until the queue is empty; a name whose time is up fails at once."""
        while self._queue:
            host, due = self._queue.popleft()
            async with self._turn:  # starts one query a turn of the loop, because it takes 0.3 ms to write one
                pass
            self._store(host, await self._names.look_up(host, due))
        self._workers -= 1

    def _store(self, host: str, lookup: Lookup) -> None:
        """Write the outcome of a query into the cache and call the callers that wait for it."""
        waiting = self._asking.pop(host)
        now = self._reactor.refresh()
        known = self._known.get(host)
        if isinstance(lookup, Found):
            hosts = tuple(take_turns(lookup.hosts)[:ADDRESSES])
            if known is None or known.hosts != hosts:
                known = _Known(hosts)
            known.fresh_until = now + min(max(lookup.seconds, MIN_SECONDS), MAX_SECONDS)
            known.usable_until = known.fresh_until + STALE_SECONDS
        elif isinstance(lookup, Absent):
            known = _Known((), lookup.detail)
            known.fresh_until = known.usable_until = now + min(max(lookup.seconds, MIN_SECONDS), MAX_ABSENT_SECONDS)
        elif known is not None and now < known.usable_until:
            known.fresh_until = now + FAILED_SECONDS
        else:
            known = _Known((), lookup.detail)
            known.fresh_until = known.usable_until = now + FAILED_SECONDS
        self._known[host] = known
        self._known.move_to_end(host)
        if len(self._known) > CAPACITY:
            self._known.popitem(last=False)
        for address, on_answer in waiting:
            on_answer(known.answer(address))


def _socket_addresses(hosts: tuple[str, ...], port: int) -> tuple[SocketAddress, ...]:
    return tuple((socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port)) for host in hosts)


def local_address(address: Address) -> SocketAddress | None:
    """Give the socket address of a local socket or an IP address; None for a name."""
    if address.scheme == "unix":
        return socket.AF_UNIX, address.path
    if not address.literal:
        return None
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return family, (address.host, address.port)


@lru_cache(maxsize=CAPACITY)
def local_answer(address: Address) -> tuple[SocketAddress, ...] | None:
    """Answer for addresses, for `localhost` and for names below it (RFC 6761 section 6.3); None for other names."""
    local = local_address(address)
    if local is not None:
        return (local,)
    last_label = address.host.lower().removesuffix(".").rpartition(".")[2]
    return _socket_addresses(("127.0.0.1", "::1"), address.port) if last_label == "localhost" else None
