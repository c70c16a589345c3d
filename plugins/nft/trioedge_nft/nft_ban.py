"""The observer: counts refusals, and has nft ban the sources that are due.

| state | event | action | then |
| --- | --- | --- | --- |
| at rest | a source is due | | sending |
| sending | nft has applied the bans | forget the refusals of these sources | at rest, 0.5 s later |
| sending | nft failed | log it; set the table up again before the next ban | sending, 1 s later, then 2, 4, to 60 |
| any | a ban has waited for 60 s | drop it, and forget the refusals of the source | |
"""

import socket
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any, Final

import trio
import trioedge as te

from .commands import NAME, OWN_TABLE, Network, add_ports, ban, overlap, read_networks, set_up
from .program import NftError, apply, find
from .refusals import Refusals

REST_SECONDS: Final = 0.5
"""Between two calls of nft."""

MAX_RETRY_SECONDS: Final = 60.0

KEEP_SECONDS: Final = 60.0
"""How long a ban waits for an nft that fails."""

BATCH: Final = 1_000
"""Sources that one call of nft bans."""

MAX_WAITING: Final = 4_096
"""Bans that wait. A further source is not banned before it is refused again."""

SLICE: Final = 100
"""Refusals that are counted before other tasks have their turn."""

MAX_TIMEOUT: Final = 31_536_000
"""A year, in seconds."""

_NEVER: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class NftBan:
    """Ban sources in the kernel once they were refused too often: an observer that feeds sets of nftables.

    A source with `refusals` refusals within `seconds` is put into a set with a timeout, by the program nft: many at a
    time, and at most every 0.5 s. The source is what the edge's limits count as one: an IPv4 address, an IPv6 /64.
    Only clients that connect directly count: the kernel sees nothing of those behind a balancer. Loopback is never
    banned.

    By default it expects sets that are there. It creates nothing, and flushes nothing, but with ``create=True`` the
    table ``inet trioedge``. Needs ``CAP_NET_ADMIN``. When nft fails, the log says why, and clients notice nothing.
    """

    needs_capabilities = ("CAP_NET_ADMIN",)

    def __init__(
        self,
        refusals: int = 20,
        seconds: float = 60.0,
        timeout_seconds: int = 600,
        reasons: list[str] | tuple[str, ...] = ("rate", "source", "credentials", "protocol", "handshake"),
        allow: list[str] | tuple[str, ...] = (),
        create: bool = False,
        table: str = OWN_TABLE,
        set_ipv4: str = "banned4",
        set_ipv6: str = "banned6",
        capacity: int = 16_384,
        program: str = "nft",
    ) -> None:
        """Set the limit; nft is not called before an edge serves.

        Args:
            refusals: refusals that ban a source, at least 1.
            seconds: in which they come, counted from the first of them; above 0.
            timeout_seconds: how long a ban lasts, 1 to 31,536,000.
            reasons: reasons of refusals that count.
            allow: addresses and prefixes that are never banned, nor is a source that has one of them.
            create: whether to create the table ``inet trioedge`` with sets, and rules that drop new connections of
                banned sources to the edge's ports. Otherwise table and sets must be there, and rules that use them.
            table: of the family ``inet``, which has the sets.
            set_ipv4: the set for IPv4, of ``type ipv4_addr; flags interval, timeout``.
            set_ipv6: the set for IPv6, of ``type ipv6_addr; flags interval, timeout``.
            capacity: sources whose refusals are counted, at least 1; beyond that the one that began first is forgotten.
            program: name or path of nft.

        Raises:
            ConfigurationError: names the argument, its fault and the mend.
        """
        te.check_count("NftBan", "refusals", refusals, maximum=2**31)
        te.check_count("NftBan", "timeout_seconds", timeout_seconds, maximum=MAX_TIMEOUT)
        te.check_count("NftBan", "capacity", capacity, maximum=2**31)
        te.check_number("NftBan", "seconds", seconds, above=0)
        te.check_flag("NftBan", "create", create)
        if not isinstance(program, str) or not program or "\0" in program:
            raise te.ConfigurationError(f"NftBan(program={program!r:.80}) must be the name or the path of nft")
        for name, value in (("table", table), ("set_ipv4", set_ipv4), ("set_ipv6", set_ipv6)):
            if not isinstance(value, str) or NAME.fullmatch(value) is None:
                raise te.ConfigurationError(
                    f"NftBan({name}={value!r:.80}) must be a name of letters, digits and _, as in 'banned4'"
                )
        if set_ipv4 == set_ipv6 or "ports" in (set_ipv4, set_ipv6):
            raise te.ConfigurationError("NftBan(set_ipv4=, set_ipv6=) must be two sets, neither called ports")
        if create and table != OWN_TABLE:
            raise te.ConfigurationError(
                f"NftBan(create=True, table={table!r}) would change a table of yours: leave table out, for the table "
                f"inet {OWN_TABLE}; or make the sets in yours, and leave create out"
            )
        self.refusals, self.seconds, self.timeout_seconds = refusals, seconds, timeout_seconds
        self.reasons = _read_reasons(reasons)
        try:
            self.allow = read_networks(allow)
        except te.ConfigurationError as error:
            raise te.ConfigurationError(f"NftBan(allow): {error}") from None
        self.create, self.table, self.set_ipv4, self.set_ipv6 = create, table, set_ipv4, set_ipv6
        self.capacity, self.program = capacity, program

    def __repr__(self) -> str:
        return f"NftBan({self.refusals} in {self.seconds:g} s, for {self.timeout_seconds} s)"

    def open(self, context: te.EdgeContext) -> "LiveNftBan":
        """Find nft, and begin without a refusal.

        Raises:
            ConfigurationError: there is no program of this name.
        """
        return LiveNftBan(self, context, find(self.program))


class LiveNftBan:
    """`NftBan` while an edge runs."""

    def __init__(self, recipe: NftBan, context: te.EdgeContext, program: str) -> None:
        self._recipe = recipe
        self._context = context
        self._program = program
        self._never = (*_NEVER, *recipe.allow)
        self._refusals = Refusals(recipe.refusals, recipe.seconds, recipe.capacity)
        self._waiting: dict[bytes, tuple[Network, float]] = {}  # by source: what to ban, and since when it is due
        self._due = trio.Event()
        self._is_set_up = False

    async def observe(self, batch: te.Batch) -> None:
        """Count the refusals of a batch, and have the worker ban the sources that are due."""
        reasons = self._recipe.reasons
        counted = 0
        for end in batch.ended:
            if end.refused and end.outcome.reason in reasons and end.source == end.peer:
                self._count(end.source, end.ended_at)
                counted += 1
                if counted % SLICE == 0:
                    await trio.lowlevel.checkpoint()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Ban sources as they come due, until cancelled; those that wait then are not banned."""
        task_status.started()
        if self._recipe.create:
            self._due.set()  # so that a fault of the set-up is in the log before a source is due
        rest = REST_SECONDS
        while True:
            await self._due.wait()
            rest = REST_SECONDS if await self._send() else min(max(1.0, 2 * rest), MAX_RETRY_SECONDS)
            await trio.sleep(rest)

    def _count(self, source: str, now: float) -> None:
        try:
            packed = socket.inet_pton(socket.AF_INET6 if ":" in source else socket.AF_INET, source)
        except OSError:  # a local socket
            return
        prefix = self._context.source_prefix
        key = prefix.key(packed)
        if not self._refusals.count(key, now) or key in self._waiting or len(self._waiting) >= MAX_WAITING:
            return
        network = ip_network((key, prefix.ipv6 if len(key) == 16 else prefix.ipv4))
        if any(overlap(network, each) for each in self._never):
            self._refusals.forget([key])
            return
        self._waiting[key] = network, now
        self._due.set()

    async def _send(self) -> bool:
        """Have nft ban the sources that wait, and tell whether it did."""
        recipe, log = self._recipe, self._context.log
        self._drop_old()
        keys = list(self._waiting)[:BATCH]
        networks = [self._waiting[key][0] for key in keys]
        commands = ban(recipe.table, recipe.set_ipv4, recipe.set_ipv6, networks, recipe.timeout_seconds)
        if recipe.create:
            ports = add_ports(recipe.table, self._context.listeners)
            commands = (
                ("" if self._is_set_up else set_up(recipe.table, recipe.set_ipv4, recipe.set_ipv6)) + ports + commands
            )
        if commands:
            try:
                await apply(self._program, commands)
            except NftError as error:
                self._is_set_up = False
                log.notice("nft failed: sources are not banned", error=str(error), sources=len(keys))
                return False
        self._is_set_up = True
        self._forget(keys)
        if not self._waiting:
            self._due = trio.Event()
        if networks:
            first = ", ".join(map(str, networks[:3]))
            log.notice("sources banned", sources=len(networks), first=first, seconds=recipe.timeout_seconds)
        return True

    def _drop_old(self) -> None:
        now = self._context.now()
        self._forget([key for key, (_, since) in self._waiting.items() if now - since > KEEP_SECONDS])

    def _forget(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self._waiting.pop(key, None)
        self._refusals.forget(keys)


def _read_reasons(reasons: Any) -> frozenset[te.Reason]:
    if isinstance(reasons, (str, bytes)) or not isinstance(reasons, Iterable):
        raise te.ConfigurationError(f"NftBan(reasons={reasons!r:.80}) must be a list, as in ['rate', 'credentials']")
    found = set()
    for each in reasons:
        if each not in tuple(te.Reason):
            raise te.ConfigurationError(f"NftBan(reasons): {each!r:.80} is no reason: see docs/reference/reasons.md")
        found.add(te.Reason(each))
    if not found:
        raise te.ConfigurationError("NftBan(reasons=[]) would ban no source: write at least one, as in ['rate']")
    return frozenset(found)
