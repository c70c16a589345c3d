"""The commands for nft, as text. Each text is applied whole or not at all."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import trioedge as te

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

OWN_TABLE: Final = "trioedge"
"""The table that the plugin may create, and whose chain it may flush."""

MAX_BANNED: Final = 65_536
"""Of one family in a set that the plugin creates. The kernel refuses more until some have ended."""

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,30}")


def set_up(table: str, set_ipv4: str, set_ipv6: str) -> str:
    """Return the commands that make the table, its sets and its rules, whether they are there or not.

    The rules drop new TCP connections of banned sources to the ports of edges. Live connections go on.
    """
    new = "tcp dport @ports tcp flags & (fin | syn | rst | ack) == syn"
    return f"""\
add table inet {table}
add set inet {table} {set_ipv4} {{ type ipv4_addr; flags interval, timeout; size {MAX_BANNED}; }}
add set inet {table} {set_ipv6} {{ type ipv6_addr; flags interval, timeout; size {MAX_BANNED}; }}
add set inet {table} ports {{ type inet_service; }}
add chain inet {table} banned {{ type filter hook input priority filter - 10; policy accept; }}
flush chain inet {table} banned
add rule inet {table} banned {new} ip saddr @{set_ipv4} drop
add rule inet {table} banned {new} ip6 saddr @{set_ipv6} drop
"""


def add_ports(table: str, listeners: Iterable[str]) -> str:
    """Return the command that adds the TCP ports of these addresses; empty if there are none."""
    ports = sorted({int(each.rpartition(":")[2]) for each in listeners if each.startswith("tcp://")})
    return f"add element inet {table} ports {{ {', '.join(map(str, ports))} }}\n" if ports else ""


def ban(table: str, set_ipv4: str, set_ipv6: str, networks: Sequence[Network], seconds: int) -> str:
    """Return the commands that put networks into the sets, for so many seconds."""
    lines = []
    for version, name in ((4, set_ipv4), (6, set_ipv6)):
        if elements := [f"{_text(each)} timeout {seconds}s" for each in networks if each.version == version]:
            lines.append(f"add element inet {table} {name} {{ {', '.join(elements)} }}\n")
    return "".join(lines)


def overlap(one: Network, other: Network) -> bool:
    """Tell whether two networks have an address in common."""
    return one.version == other.version and one.overlaps(other)


def read_networks(entries: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and prefixes.

    Raises:
        ConfigurationError: ``'10.0.0' is no address and no prefix: write 192.0.2.7 or 10.0.0.0/8``.
    """
    if isinstance(entries, (str, bytes)) or not isinstance(entries, Iterable):
        raise te.ConfigurationError(f"{entries!r:.80} is no list: write ['192.0.2.7', '10.0.0.0/8']")
    return tuple(map(_read_network, entries))


def _read_network(entry: object) -> Network:
    try:
        if isinstance(entry, str):
            return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass
    raise te.ConfigurationError(f"{entry!r:.80} is no address and no prefix: write 192.0.2.7 or 10.0.0.0/8")


def _text(network: Network) -> str:
    """Write a network as nft does, a single address without its length."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)
