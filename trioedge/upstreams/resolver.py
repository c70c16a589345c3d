"""A caching DNS resolver: sessions are answered from memory, and a worker asks the name servers.

The state of a name, and what `Resolver.ask` does:

| a name is | ask | until |
| --- | --- | --- |
| unknown | wait for a query | the query ends |
| fresh | answer from memory; in the last tenth of its time, query in the background as well | its time to live ends |
| expired (RFC 8767 section 5) | wait for a query; answer from memory if that takes 1.8 s or fails | the query ends |
| expired, and its last query failed | answer from memory, query in the background | :data:`STALE_SECONDS` |
| absent (RFC 2308) | refuse from memory | the time that the servers give |
| failed (RFC 9520) | refuse from memory | a pause after the query |

The pause after a query that failed is :data:`FAILED_SECONDS`, and doubles with each further failure up to
:data:`MAX_FAILED_SECONDS`; the next query for the name follows it. Which names are queried first: see
:mod:`.query_queue`.
"""

import resource
import socket
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from functools import lru_cache
from math import inf
from typing import Final, Protocol, TypeAlias

import trio
from trio_util import AsyncBool

from ..addresses.address import Address
from ..loop.reactor import Reactor
from ..services.context import SocketAddress
from ..session.verdict import Reason
from ..telemetry.log import STOPS, EdgeLog
from ..telemetry.meters import Meters
from .errors import UpstreamError
from .hosts_file import HostsFile
from .lookup import Absent, Failed, Found, Lookup, take_turns
from .query_queue import QueryQueue

QUERY_SECONDS: Final = 3.0
"""The timeout of a query, from its start."""

MAX_QUERIES: Final = 512
"""The most queries at the same time; fewer where the process may open few files: see :func:`max_queries`."""

MIN_SECONDS: Final = 1.0
MAX_SECONDS: Final = 3600.0
"""Bounds of the time to live of addresses."""

MAX_ABSENT_SECONDS: Final = 60.0
"""The longest time for which a name counts as absent."""

FAILED_SECONDS: Final = 1.0
MAX_FAILED_SECONDS: Final = 30.0
"""The first and the longest pause before the next query for a name after one that failed (RFC 9520 section 3.2)."""

STALE_ANSWER_SECONDS: Final = 1.8
"""How long a session waits for a query before it is answered from expired addresses (RFC 8767 section 5)."""

STALE_SECONDS: Final = 86_400.0
"""How long addresses are used after their time to live when they cannot be renewed."""

HOSTS_SECONDS: Final = 5.0
"""The time to live of addresses from the hosts file."""

CAPACITY: Final = 10_000
"""The most names in memory, beyond which the least recently used is evicted, and the most names being queried, beyond
which `Resolver.ask` refuses. One asker may have a quarter of these."""

_RENEWAL: Final = 0.1
"""The last part of a time to live, in which a session renews the answer for the next one."""

ADDRESSES: Final = 32
"""The most addresses of one name: more than can be tried within any connect timeout."""

Answer: TypeAlias = tuple[SocketAddress, ...] | UpstreamError
OnAnswer: TypeAlias = Callable[[Answer], object]


class Names(Protocol):
    """The name servers as a resolver sees them: :class:`.name_servers.NameServers`, or a fake."""

    async def look_up(self, host: str, due: float, /) -> Lookup:
        """Query a name until `due`, in seconds of trio's clock. Must not raise; a timeout is a :class:`.Failed`."""


def max_queries() -> int:
    """Give the most queries at the same time: an eighth of the process's file descriptors, 512 at most."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MAX_QUERIES, files // 8))


class _Known:
    """The cache entry of one name: its addresses, or the reason why it has none.

    `renew_at` is never after `fresh_until`, and that never after `usable_until`, in seconds of the reactor's clock.
    `failures` counts the queries that failed since one did not.
    """

    __slots__ = ("_answer", "_port", "failure", "failures", "fresh_until", "hosts", "renew_at", "usable_until")

    def __init__(self, hosts: tuple[str, ...], failure: str = "") -> None:
        self.hosts = hosts
        self.failure = failure
        self.failures = 0
        self.renew_at = self.fresh_until = self.usable_until = 0.0
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


class _Asked:
    """A name that is being queried, and the callers that wait for it.

    From `stale_at` on they are answered from `known`, which has expired.
    """

    __slots__ = ("asker", "known", "stale_at", "waiting")

    def __init__(self, asker: Hashable, known: _Known | None, stale_at: float) -> None:
        self.asker = asker
        self.known = known
        self.stale_at = stale_at
        self.waiting: list[tuple[Address, OnAnswer]] = []

    def call(self, known: _Known, log: EdgeLog | None) -> None:
        """Answer the callers that wait. An exception of one is logged, and the others are called."""
        waiting, self.waiting = self.waiting, []
        for address, on_answer in waiting:
            try:
                on_answer(known.answer(address))
            except STOPS:
                raise
            except BaseException as fault:
                if log is None:
                    raise
                log.fault("resolver: a callback failed", fault, upstream=str(address))


class Resolver:
    """Resolves destinations to socket addresses, from the hosts file first, then from the name servers."""

    def __init__(
        self, reactor: Reactor, names: Names | None = None, hosts: HostsFile | None = None, log: EdgeLog | None = None
    ) -> None:
        """Start with an empty cache; no file is read and no query sent before :meth:`run`.

        Args:
            reactor: the clock of the cache.
            names: sends the queries; by default to the servers in the system's `resolv.conf`.
            hosts: consulted before a query; by default the system's hosts file.
            log: logs the exceptions of callbacks that have waited; without one they are raised, and end the worker.
        """
        self._log = log
        meters = Meters() if log is None else log.meters
        self._meter = meters.names
        self._reactor = reactor
        if names is None:
            from .name_servers import NameServers  # takes 40 ms: only when an edge serves, not when it is described

            names = NameServers()
        self._names = names
        self._hosts = HostsFile() if hosts is None else hosts
        # `_known` has at most CAPACITY names, the least recently used first. `_asking` has every name that is being
        # queried, at most CAPACITY, and `_askers` how many of them each asker has. Each of these names is in exactly
        # one place: in `_unseen` before the hosts file is consulted, then in `_queue`. `_late` has the times when
        # callers are answered from expired addresses, in order.
        self._known: OrderedDict[str, _Known] = OrderedDict()
        meters.add_table("names", self._known.__len__, CAPACITY)
        self._asking: dict[str, _Asked] = {}
        self._askers: Counter[Hashable] = Counter()
        self._unseen: list[str] = []
        self._queue = QueryQueue(max_queries())
        self._late: deque[tuple[float, str, _Asked]] = deque()
        self._changed = AsyncBool()  # set when a name is added or a query has ended; cleared by the worker

    def __len__(self) -> int:
        """Names in memory, absent and failed ones included."""
        return len(self._known)

    def ask(self, address: Address, on_answer: OnAnswer, asker: Hashable = None) -> None:
        """Resolve a destination and call `on_answer`, before this returns if the answer is in memory.

        To have a name in memory before the first session comes, ask for it and ignore the answer.

        Args:
            address: the destination; IP addresses, local sockets and `localhost` need no query.
            on_answer: called once, with at most :data:`ADDRESSES` socket addresses in the order in which to try them,
                or with an :class:`.UpstreamError`. Not called when the worker is cancelled before it has an answer. Its
                exceptions come out of this call, or are logged if it has waited.
            asker: shares the queries with other askers: however many names it asks for, theirs are queried as well.
        """
        answer = local_answer(address)
        if answer is not None:
            on_answer(answer)
            return
        host, now = address.host, self._reactor.now
        known = self._known.get(host)
        if known is None or now >= known.usable_until:
            asked = self._asking.get(host) or self._begin(host, asker, None)
            if asked is None:
                on_answer(UpstreamError(Reason.CAPACITY, f"{address}: too many names are being queried already"))
            else:
                asked.waiting.append((address, on_answer))
            return
        self._known.move_to_end(host)
        if now >= known.renew_at:
            asked = self._asking.get(host) or self._begin(host, asker, known)
            if now >= known.fresh_until and not known.failures and asked is not None and now < asked.stale_at:
                asked.waiting.append((address, on_answer))
                return
        on_answer(known.answer(address))

    def fresh_until(self, address: Address) -> float:
        """Give the time until which the answer for a destination does not change; infinity if it never does."""
        if local_answer(address) is not None:
            return inf
        known = self._known.get(address.host)
        return self._reactor.now if known is None else known.fresh_until

    def _begin(self, host: str, asker: Hashable, known: _Known | None) -> _Asked | None:
        """Hand a name to the worker; None when it or the asker has too many names already."""
        if len(self._asking) >= CAPACITY or self._askers[asker] >= max(1, CAPACITY // 4):
            return None
        stale_at = inf if known is None else self._reactor.now + STALE_ANSWER_SECONDS
        asked = self._asking[host] = _Asked(asker, known, stale_at)
        self._askers[asker] += 1
        if known is not None:
            self._late.append((stale_at, host, asked))
        self._unseen.append(host)
        self._changed.value = True
        return asked

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer the names that are asked for. After a cancel no socket is open, and no waiting caller is called."""
        await self._hosts.refresh()
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                with trio.CancelScope(deadline=min(self._queue.due(), self._late[0][0] if self._late else inf)):
                    await self._changed.wait_value(True)
                self._changed.value = False
                self._answer_late()
                if self._unseen:
                    await self._hosts.refresh()
                    self._consult()
                while (host := self._queue.next(trio.current_time())) is not None:
                    await trio.lowlevel.checkpoint()  # one query a turn of the loop, because it takes 0.3 ms to write
                    nursery.start_soon(self._query, host)

    def _consult(self) -> None:
        """Answer names from the hosts file; the others wait for a query."""
        unseen, self._unseen = self._unseen, []
        for host in unseen:
            if addresses := self._hosts.addresses(host):
                self._store(host, Found(addresses, HOSTS_SECONDS))
            else:
                known = self._known.get(host)
                self._queue.add(host, self._asking[host].asker, failed=known is not None and known.failures > 0)

    def _answer_late(self) -> None:
        """Answer from expired addresses the callers that have waited long enough."""
        now = self._reactor.refresh()
        while self._late and self._late[0][0] <= now:
            _, host, asked = self._late.popleft()
            if asked.known is not None and self._asking.get(host) is asked:
                asked.call(asked.known, self._log)

    async def _query(self, host: str) -> None:
        began_at = trio.current_time()
        self._meter.asked += 1
        lookup = await self._names.look_up(host, began_at + QUERY_SECONDS)
        if isinstance(lookup, Failed):
            self._meter.failed += 1
        else:
            self._meter.seconds.add(trio.current_time() - began_at)
        self._queue.ended(host)
        self._changed.value = True
        self._store(host, lookup)

    def _store(self, host: str, lookup: Lookup) -> None:
        """Write the outcome of a query into the cache and call the callers that wait for it."""
        asked = self._asking.pop(host)
        self._askers[asked.asker] -= 1
        if not self._askers[asked.asker]:
            del self._askers[asked.asker]
        now = self._reactor.refresh()
        known = self._known.get(host)
        if isinstance(lookup, Found):
            hosts = tuple(take_turns(lookup.hosts)[:ADDRESSES])
            if known is None or known.hosts != hosts:
                known = _Known(hosts)
            seconds = min(max(lookup.seconds, MIN_SECONDS), MAX_SECONDS)
            known.failures = 0
            known.fresh_until = now + seconds
            known.renew_at = known.fresh_until - seconds * _RENEWAL
            known.usable_until = known.fresh_until + STALE_SECONDS
        elif isinstance(lookup, Absent):
            known = _Known((), lookup.detail)
            seconds = min(max(lookup.seconds, MIN_SECONDS), MAX_ABSENT_SECONDS)
            known.renew_at = known.fresh_until = known.usable_until = now + seconds
        else:
            failures = 1 if known is None else known.failures + 1
            until = now + min(FAILED_SECONDS * 2 ** min(failures - 1, 16), MAX_FAILED_SECONDS)
            if known is None or now >= known.usable_until:
                known = _Known((), lookup.detail)
                known.usable_until = until
            known.failures = failures
            known.renew_at = known.fresh_until = until
        self._known[host] = known
        self._known.move_to_end(host)
        if len(self._known) > CAPACITY:
            self._known.popitem(last=False)
        asked.call(known, self._log)


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
