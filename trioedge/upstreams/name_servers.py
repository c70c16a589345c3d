"""DNS queries for both address families at once, to the servers in `/etc/resolv.conf`.

dnspython does servers, retries, and TCP after a truncated answer; this module does search domains, address families,
timeouts and negative answers.

| a candidate is, in the order of the search (resolv.conf(5)) | then |
| --- | --- |
| found in one family or both | these addresses are the answer |
| absent, or without an address | query the next candidate |
| failed, and a server answered (SERVFAIL, REFUSED) | query the next candidate |
| failed, and no server answered | the query has failed |

Two rules keep IPv6 from delaying sessions, because the connect race (RFC 8305) alone would not. Together they cost
about 40 µs a query, and nothing a session.

- Only a machine with an IPv6 address beyond its link queries AAAA records (AI_ADDRCONFIG of getaddrinfo(3)). Otherwise
  an IPv4-only machine would send twice as many queries, and behind a server that drops those for AAAA wait 50 ms for
  nothing, or 3 s if the name has no address.
- IPv6 comes first only if the machine would use a source address of the same kind (RFC 6724, rules 2 and 5). Otherwise
  a container with a unique local address and a default route, as in a Docker network with IPv6 but without NAT for it,
  would send its first packet to a black hole, and every connect would take the 250 ms until the race tries IPv4:
  measured in a network namespace, 300 ms instead of 0.1.
"""

import socket
from pathlib import Path
from typing import Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver
import trio

from ..addresses.address import packed_ip
from .lookup import Absent, Failed, Found, Lookup, join, join_searched
from .resolv_conf import ResolvConf, parse_resolv_conf

RESOLV_CONF: Final = Path("/etc/resolv.conf")

TRY_SECONDS: Final = 1.0
"""The timeout of one server, after which the next one is queried, or the same one again."""

IPV6_SECONDS: Final = 0.05
"""How long to wait for IPv6 addresses once IPv4 ones are there: the resolution delay of RFC 8305 section 3."""

NO_SOA_SECONDS: Final = 5.0
"""The time to live of a negative answer without a SOA record."""

_IF_INET6: Final = Path("/proc/net/if_inet6")
_WIDE_SCOPE: Final = "00"  # not of the link or the machine only; unique local addresses have this scope


class NameServers:
    """The name servers of a `resolv.conf`, which is read again when it changes, or of a given dnspython resolver."""

    def __init__(
        self, configuration: Path | dns.asyncresolver.Resolver = RESOLV_CONF, *, ipv6: bool | None = None
    ) -> None:
        """Read no file and send no query yet.

        Args:
            configuration: the file with servers and search domains, or a resolver that has them.
            ipv6: whether to query IPv6 addresses; by default if the machine has one that reaches beyond its link.
        """
        self._configuration = configuration
        self._ipv6 = ipv6
        self._client: dns.asyncresolver.Resolver | None = None
        self._use_tcp = False
        self._version = (0, 0, 0)
        self._backend = dns.asyncbackend.get_backend(
            "trio"
        )  # imported now, because it takes long, and not in a session

    async def look_up(self, host: str, due: float) -> Lookup:
        """Query a name, in search domains as the configuration says. Never raises; after a cancel no socket is open.

        Args:
            host: the name as the user wrote it; search domains are not tried after a final dot.
            due: the deadline, in seconds of Trio's clock; the addresses that are there by then are the answer.
        """
        try:
            client = self._configured()
        except (OSError, ValueError) as error:
            return Failed(f"no name server to ask: {error}")
        try:
            names = candidates(client, host)
        except Exception as error:  # a name that cannot be encoded
            return Failed(str(error) or repr(error))
        lookups: list[Lookup] = []
        for name in names:
            lookup = await self._query(client, name, due)
            lookups.append(lookup)
            if isinstance(lookup, Found) or (isinstance(lookup, Failed) and not lookup.answered):
                return lookup
        return join_searched(lookups)

    async def _query(self, client: dns.asyncresolver.Resolver, name: dns.name.Name, due: float) -> Lookup:
        """Query both address families of one name."""
        silence = Failed(f"no answer in time from {', '.join(map(str, client.nameservers))}")
        wants_ipv6 = has_ipv6() if self._ipv6 is None else self._ipv6
        families = ("A", "AAAA") if wants_ipv6 else ("A",)
        lookups: dict[str, Lookup] = dict.fromkeys(families, silence)

        async def ask(family: str, scope: trio.CancelScope) -> None:
            lookups[family] = lookup = await self._ask(client, name, family)
            if family == "A" and isinstance(lookup, Found):
                scope.deadline = min(due, trio.current_time() + IPV6_SECONDS)

        with trio.CancelScope(deadline=due):
            async with trio.open_nursery() as nursery:
                for family in families:
                    nursery.start_soon(ask, family, nursery.cancel_scope)
        ipv6 = lookups.get("AAAA")
        if isinstance(ipv6, Found) and _goes_by_ipv6(ipv6.hosts[0]):
            return join([ipv6, lookups["A"]])
        return join(list(lookups.values()))

    def _configured(self) -> dns.asyncresolver.Resolver:
        if isinstance(self._configuration, dns.asyncresolver.Resolver):
            return self._configuration
        status = self._configuration.stat()
        version = status.st_mtime_ns, status.st_size, status.st_ino
        if self._client is None or version != self._version:
            configuration = parse_resolv_conf(self._configuration.read_bytes())
            self._client, self._version = _client(configuration), version
            self._use_tcp = configuration.use_tcp
        return self._client

    async def _ask(self, client: dns.asyncresolver.Resolver, name: dns.name.Name, family: str) -> Lookup:
        try:
            answer = await client.resolve(
                name, family, tcp=self._use_tcp, search=False, raise_on_no_answer=False, backend=self._backend
            )
        except dns.resolver.NXDOMAIN as error:
            responses: dict[object, dns.message.Message] = error.responses()  # type: ignore[no-untyped-call]  # dnspython has no annotation here
            return Absent(f"{name} does not exist", min(map(_negative_seconds, responses.values())))
        except dns.resolver.NoNameservers as error:
            return Failed(str(error), answered=all(response is not None for *_, response in error.kwargs["errors"]))
        except Exception as error:  # timeouts, refusals, and anything that bytes from a server may cause
            return Failed(str(error) or repr(error))
        if answer.rrset is None:
            return Absent(f"{name} has no {family} record", _negative_seconds(answer.response))
        return Found(tuple(record.to_text() for record in answer.rrset), answer.chaining_result.minimum_ttl)


def _client(configuration: ResolvConf) -> dns.asyncresolver.Resolver:
    client = dns.asyncresolver.Resolver(configure=False)
    client.nameservers = list(configuration.servers)
    client.search = [dns.name.from_text(domain) for domain in configuration.search]
    client.ndots = configuration.ndots
    client.rotate = configuration.rotate
    client.timeout = min(configuration.timeout, TRY_SECONDS)
    if configuration.attempts is not None:
        client.lifetime = configuration.attempts * client.timeout * len(configuration.servers)
    if configuration.edns0:
        client.use_edns()
    return client


def candidates(client: dns.asyncresolver.Resolver, host: str) -> list[dns.name.Name]:
    """Give the names to query for a host, in the order of the search.

    Raises:
        DNSException: `host` is no name that can be encoded.
    """
    name = dns.name.from_text(host, None)
    if name.is_absolute():
        return [name]
    searched = []
    for domain in client.search:
        try:
            searched.append(name.concatenate(domain))
        except dns.name.NameTooLong:
            continue
    written = name.concatenate(dns.name.root)
    dots = len(name) - 1
    return [written, *searched] if dots >= (1 if client.ndots is None else client.ndots) else [*searched, written]


def has_ipv6(interfaces: Path = _IF_INET6) -> bool:
    """Tell whether the machine has an IPv6 address that reaches beyond its link, from the file if_inet6 of proc(5)."""
    try:
        lines = interfaces.read_text().splitlines()
    except OSError:  # a kernel without IPv6
        return False
    return any(line.split()[3] == _WIDE_SCOPE for line in lines)


def _negative_seconds(response: dns.message.Message) -> float:
    if not any(record.rdtype == dns.rdatatype.SOA for record in response.authority):
        return NO_SOA_SECONDS
    assert isinstance(response, dns.message.QueryMessage)
    return response.resolve_chaining().minimum_ttl


def _goes_by_ipv6(host: str) -> bool:
    """Tell whether the machine has a route to an IPv6 address and a source address of the same kind for it."""
    source = source_towards(host)
    return source is not None and _is_unique_local(source) == _is_unique_local(host)


def source_towards(host: str) -> str | None:
    """Give the source address of the machine for connections to an IPv6 address; None without a route."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # looks up the route and sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _is_unique_local(host: str) -> bool:
    """Tell whether an address is in fc00::/7 (RFC 4193)."""
    packed = packed_ip(host)
    return packed is not None and len(packed) == 16 and packed[0] & 0xFE == 0xFC
