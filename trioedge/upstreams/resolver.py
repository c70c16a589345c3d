"""Names to addresses, from memory. Only the first session ever to a name can meet one that is not known yet.

An answer is fresh for its own time to live; after that it is still used, while a worker asks anew (RFC 8767). That
there is no address is believed as long as the servers say (RFC 2308). A failure is remembered for
:data:`FAILED_SECONDS`, unless an older answer is there to go on with.
"""

import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol, TypeAlias

import trio

from ..addresses.address import Address
from ..loop.reactor import Reactor
from ..loop.wakeup import Wakeup
from ..session.verdict import Reason
from .errors import UpstreamError
from .hosts_file import HostsFile
from .lookup import Absent, Found, Lookup, take_turns

QUERY_SECONDS: Final = 3.0
"""How long a name may take from the moment it is asked for, its wait for a turn included."""

MIN_SECONDS: Final = 1.0
MAX_SECONDS: Final = 3600.0
"""Bounds of an answer's time to live."""

MAX_ABSENT_SECONDS: Final = 60.0
"""The bound for an answer that there is no address."""

FAILED_SECONDS: Final = 1.0
"""How long nobody is asked again after nobody could say."""

STALE_SECONDS: Final = 86_400.0
"""How long an answer that cannot be renewed is used after its time."""

HOSTS_SECONDS: Final = 5.0
"""How long a line of the hosts file is believed without a look at the file."""

AT_ONCE: Final = 64
"""Names asked for at the same time; the others wait in order."""

CAPACITY: Final = 10_000
"""Names known; the one least recently asked for gives way. As many may be waited for; beyond, asking fails."""

ADDRESSES: Final = 32
"""Addresses kept of one name: more than can be tried within any connect deadline."""

SocketAddress: TypeAlias = tuple[socket.AddressFamily, object]
Answer: TypeAlias = tuple[SocketAddress, ...] | UpstreamError
OnAnswer: TypeAlias = Callable[[Answer], object]


class Names(Protocol):
    """Who is asked for names: :class:`.name_servers.NameServers`, or a test's own."""

    async def look_up(self, host: str, due: float, /) -> Lookup:
        """Ask for a name until `due`, in seconds of trio's clock. Does not raise."""


class _Known:
    """What is known of one name: its addresses, or why it has none."""

    __slots__ = ("_answer", "_port", "failure", "fresh_until", "hosts", "usable_until")

    def __init__(self, hosts: tuple[str, ...], failure: str = "") -> None:
        self.hosts = hosts
        self.failure = failure
        self.fresh_until = self.usable_until = 0.0
        self._port = -1
        self._answer: tuple[SocketAddress, ...] = ()

    def answer(self, address: Address) -> Answer:
        """Give the answer for a port; the same object as last time, if the port is the same."""
        if not self.hosts:  # a new exception each time: one that is raised again and again grows a traceback
            return UpstreamError(Reason.UPSTREAM_UNRESOLVED, f"{address}: {self.failure}")
        if self._port != address.port:
            self._port = address.port
            self._answer = _socket_addresses(self.hosts, address.port)
        return self._answer


class Resolver:
    """Every destination's addresses. Its worker looks into the hosts file, then asks the name servers."""

    def __init__(self, reactor: Reactor, names: Names | None = None, hosts: HostsFile | None = None) -> None:
        """Know nothing yet; no file is read and nobody asked before :meth:`run`.

        Args:
            reactor: its clock says what is fresh.
            names: who is asked; by default the servers of the system's `resolv.conf`.
            hosts: what is looked into first; by default the system's hosts file.
        """
        self._reactor = reactor
        if names is None:
            from .name_servers import NameServers  # 40 ms: to pay when an edge serves, not where one is described

            names = NameServers()
        self._names = names
        self._hosts = HostsFile() if hosts is None else hosts
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, list[tuple[Address, OnAnswer]]] = {}
        self._unseen: list[str] = []
        self._queue: deque[tuple[str, float]] = deque()
        self._workers = 0
        self._turn = trio.Lock()
        self._wakeup = Wakeup()

    def __len__(self) -> int:
        """Names known."""
        return len(self._known)

    def ask(self, address: Address, on_answer: OnAnswer) -> None:
        """Call `on_answer` with the addresses or the error: now, if memory has either, else once it is known.

        Whoever only wants a name to be known when a session comes asks for it and ignores the answer.
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
            on_answer(UpstreamError(Reason.CAPACITY, f"{address}: {CAPACITY} names are being asked for already"))

    def _begin(self, host: str) -> bool:
        """Have the worker ask, unless too many names wait for it already."""
        if len(self._asking) >= CAPACITY:
            return False
        self._asking[host] = []
        self._unseen.append(host)
        self._wakeup.set()
        return True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask for what is unknown or stale, until cancelled; then nothing is open, and who waits is told nothing."""
        await self._hosts.refresh()
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await self._wakeup.wait()
                await self._hosts.refresh()
                unseen, self._unseen = self._unseen, []
                due = trio.current_time() + QUERY_SECONDS
                for host in unseen:
                    if addresses := self._hosts.addresses(host):
                        self._settle(host, Found(addresses, HOSTS_SECONDS))
                    else:
                        self._queue.append((host, due))
                for _ in range(min(len(self._queue), AT_ONCE - self._workers)):
                    self._workers += 1
                    nursery.start_soon(self._work)

    async def _work(self) -> None:
        """Ask for one name after another until none is left; those whose time is up fail at once."""
        while self._queue:
            host, due = self._queue.popleft()
            async with self._turn:  # handed on once a turn, for a query takes 0.3 ms to write, and sessions wait
                pass
            self._settle(host, await self._names.look_up(host, due))
        self._workers -= 1

    def _settle(self, host: str, lookup: Lookup) -> None:
        """Remember what came of asking, and tell those who wait."""
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
    """Give the socket address of what needs no resolving, else None."""
    if address.scheme == "unix":
        return socket.AF_UNIX, address.path
    if not address.literal:
        return None
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return family, (address.host, address.port)


@lru_cache(maxsize=CAPACITY)
def local_answer(address: Address) -> tuple[SocketAddress, ...] | None:
    """Answer for what is an address already, and for `localhost` and all below it (RFC 6761 section 6.3), else None."""
    local = local_address(address)
    if local is not None:
        return (local,)
    last_label = address.host.lower().removesuffix(".").rpartition(".")[2]
    return _socket_addresses(("127.0.0.1", "::1"), address.port) if last_label == "localhost" else None
