"""Asking DNS: both address families at once, as `/etc/resolv.conf` says, and what their answers come to.

Servers, search domains, `ndots`, retries and TCP after a cut answer are dnspython's; families, deadlines and what
is to be made of a negative answer are ours.
"""

import socket
from pathlib import Path
from typing import Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.message
import dns.rdatatype
import dns.resolver
import trio

from ..addresses.address import packed_ip
from .lookup import Absent, Failed, Found, Lookup, join

RESOLV_CONF: Final = Path("/etc/resolv.conf")

TRY_SECONDS: Final = 1.0
"""How long one server of the system's is waited for before the next is asked, or the same one again."""

IPV6_SECONDS: Final = 0.05
"""How long IPv6 addresses are waited for once IPv4's are there: the resolution delay of RFC 8305 section 3."""

NO_SOA_SECONDS: Final = 5.0
"""How long to believe a negative answer that does not say it itself."""

_IF_INET6: Final = Path("/proc/net/if_inet6")
_WIDE_SCOPE: Final = "00"  # neither this link's nor this machine's; unique local addresses count


class NameServers:
    """The servers of a `resolv.conf`, read again when it changes, or of a dnspython resolver of the caller's own."""

    def __init__(
        self, configuration: Path | dns.asyncresolver.Resolver = RESOLV_CONF, *, ipv6: bool | None = None
    ) -> None:
        """Ask nobody yet, and read nothing.

        Args:
            configuration: where servers and search domains are written, or a resolver that has them.
            ipv6: whether to ask for IPv6 addresses; by default if the machine has one that reaches beyond its link
                (AI_ADDRCONFIG of getaddrinfo(3)).
        """
        self._configuration = configuration
        self._ipv6 = ipv6
        self._client: dns.asyncresolver.Resolver | None = None
        self._version = (0, 0, 0)
        self._backend = dns.asyncbackend.get_backend("trio")  # its import may be long: now, not in a session

    async def look_up(self, host: str, due: float) -> Lookup:
        """Ask for a name; never raises, and leaves nothing open after a cancel.

        Args:
            host: as its user wrote it; a final dot keeps search domains out.
            due: when to give up, in seconds of trio's clock; what is known by then is the answer.
        """
        try:
            client = self._configured()
        except (dns.exception.DNSException, OSError, ValueError) as error:
            return Failed(f"no name server to ask: {error}")
        silence = Failed(f"no answer in time from {', '.join(map(str, client.nameservers))}")
        wants_ipv6 = has_ipv6() if self._ipv6 is None else self._ipv6
        families = ("A", "AAAA") if wants_ipv6 else ("A",)
        lookups: dict[str, Lookup] = dict.fromkeys(families, silence)

        async def ask(family: str, scope: trio.CancelScope) -> None:
            lookups[family] = lookup = await self._ask(client, host, family)
            if family == "A" and isinstance(lookup, Found):
                scope.deadline = trio.current_time() + IPV6_SECONDS

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
            client = dns.asyncresolver.Resolver(self._configuration)
            client.timeout = min(client.timeout, TRY_SECONDS)
            self._client, self._version = client, version
        return self._client

    async def _ask(self, client: dns.asyncresolver.Resolver, host: str, family: str) -> Lookup:
        try:
            answer = await client.resolve(host, family, search=True, raise_on_no_answer=False, backend=self._backend)
        except dns.resolver.NXDOMAIN as error:
            responses: dict[object, dns.message.Message] = error.responses()  # type: ignore[no-untyped-call]
            return Absent(str(error), min(map(_negative_seconds, responses.values())))
        except Exception as error:  # servers that refuse, names that cannot be asked for, whatever bytes may do
            return Failed(str(error) or repr(error))
        if answer.rrset is None:
            return Absent(f"no {family} record", _negative_seconds(answer.response))
        return Found(tuple(record.to_text() for record in answer.rrset), answer.chaining_result.minimum_ttl)


def has_ipv6(interfaces: Path = _IF_INET6) -> bool:
    """Tell whether the machine has an IPv6 address that reaches beyond its link; `interfaces` is proc(5)'s if_inet6."""
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
    """Tell whether the machine has a way to an IPv6 address, from one of its own kind: RFC 6724, rules 2 and 5.

    A machine with unique local addresses only would else try every public IPv6 address first, in vain.
    """
    source = source_towards(host)
    return source is not None and _is_unique_local(source) == _is_unique_local(host)


def source_towards(host: str) -> str | None:
    """Give the address that this machine would have when it connects to an IPv6 address; None without a way there."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # finds the way and sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _is_unique_local(host: str) -> bool:
    """By RFC 4193, fc00::/7."""
    packed = packed_ip(host)
    return packed is not None and len(packed) == 16 and packed[0] & 0xFE == 0xFC
