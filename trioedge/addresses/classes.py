"""What kind of place an address is, so that a client who names destinations cannot reach into the edge's own network.

The blocks are those of the IANA special-purpose address registries (RFC 6890 and its updates) and of RFC 4291. Where
a registry lets single addresses of a block be global (some of 192.0.0.0/24 and 2001::/23), the block stays reserved:
nobody serves clients there.
"""

import ipaddress
from bisect import bisect_right
from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeAlias

Embeds: TypeAlias = "Callable[[bytes], tuple[bytes, ...]] | None"


class AddressClass(StrEnum):
    """Kinds of addresses, from the most harmless destination to the least."""

    GLOBAL = "global"
    """Anyone's, on the internet."""
    PRIVATE = "private"
    """Inside a network: RFC 1918, shared between carrier and customer (RFC 6598), unique local (RFC 4193)."""
    RESERVED = "reserved"
    """Nobody's: documentation, benchmarks, retired, unassigned, broadcast."""
    LINK_LOCAL = "link_local"
    """On the same wire."""
    LOOPBACK = "loopback"
    """This machine."""
    MULTICAST = "multicast"
    """Many at once; no TCP."""
    UNSPECIFIED = "unspecified"
    """No address, which Linux takes for this machine."""
    METADATA = "metadata"
    """A cloud's service that hands secrets to whoever asks from within a machine of its."""


_HARM: Final = {each: harm for harm, each in enumerate(AddressClass)}


def _last(packed: bytes) -> tuple[bytes, ...]:
    return (packed[12:],)


def _six_to_four(packed: bytes) -> tuple[bytes, ...]:
    return (packed[2:6],)


def _teredo(packed: bytes) -> tuple[bytes, ...]:
    """Give the server, and the client, which is written inverted (RFC 4380 section 4)."""
    return packed[4:8], bytes(byte ^ 0xFF for byte in packed[12:])


_BLOCKS: Final[tuple[tuple[str, AddressClass, Embeds], ...]] = (
    ("0.0.0.0/0", AddressClass.GLOBAL, None),
    ("0.0.0.0/8", AddressClass.RESERVED, None),
    ("0.0.0.0/32", AddressClass.UNSPECIFIED, None),
    ("10.0.0.0/8", AddressClass.PRIVATE, None),
    ("100.64.0.0/10", AddressClass.PRIVATE, None),  # shared, RFC 6598
    ("100.100.100.200/32", AddressClass.METADATA, None),  # Alibaba
    ("127.0.0.0/8", AddressClass.LOOPBACK, None),
    ("168.63.129.16/32", AddressClass.METADATA, None),  # Azure
    ("169.254.0.0/16", AddressClass.LINK_LOCAL, None),
    ("169.254.42.42/32", AddressClass.METADATA, None),  # Scaleway
    ("169.254.169.254/32", AddressClass.METADATA, None),  # nearly everyone
    ("169.254.170.2/32", AddressClass.METADATA, None),  # AWS, for containers
    ("169.254.170.23/32", AddressClass.METADATA, None),  # AWS, for pods
    ("172.16.0.0/12", AddressClass.PRIVATE, None),
    ("192.0.0.0/24", AddressClass.RESERVED, None),  # protocols' own
    ("192.0.0.192/32", AddressClass.METADATA, None),  # Oracle
    ("192.0.2.0/24", AddressClass.RESERVED, None),  # documentation, RFC 5737
    ("192.88.99.0/24", AddressClass.RESERVED, None),  # 6to4 relays, retired by RFC 7526
    ("192.168.0.0/16", AddressClass.PRIVATE, None),
    ("198.18.0.0/15", AddressClass.RESERVED, None),  # benchmarks, RFC 2544
    ("198.51.100.0/24", AddressClass.RESERVED, None),  # documentation
    ("203.0.113.0/24", AddressClass.RESERVED, None),  # documentation
    ("224.0.0.0/4", AddressClass.MULTICAST, None),
    ("240.0.0.0/4", AddressClass.RESERVED, None),  # and broadcast
    ("::/0", AddressClass.RESERVED, None),  # unassigned but for 2000::/3, RFC 4291 section 2.4
    ("::/96", AddressClass.RESERVED, _last),  # IPv4-compatible, retired by RFC 4291
    ("::/128", AddressClass.UNSPECIFIED, None),
    ("::1/128", AddressClass.LOOPBACK, None),
    ("::ffff:0:0/96", AddressClass.GLOBAL, _last),  # IPv4-mapped
    ("64:ff9b::/96", AddressClass.GLOBAL, _last),  # NAT64, RFC 6052
    # NAT64 of the network's own, RFC 8215. Where the IPv4 address stands is known to its translator alone, so none
    # of it is better than reserved.
    ("64:ff9b:1::/48", AddressClass.RESERVED, _last),
    ("2000::/3", AddressClass.GLOBAL, None),
    ("2001::/23", AddressClass.RESERVED, None),  # protocols' own
    ("2001::/32", AddressClass.RESERVED, _teredo),
    ("2001:db8::/32", AddressClass.RESERVED, None),  # documentation, RFC 3849
    ("2002::/16", AddressClass.RESERVED, _six_to_four),  # RFC 3056, and its relays retired by RFC 7526
    ("3fff::/20", AddressClass.RESERVED, None),  # documentation, RFC 9637
    ("fc00::/7", AddressClass.PRIVATE, None),
    ("fd00:42::42/128", AddressClass.METADATA, None),  # Scaleway
    ("fd00:ec2::23/128", AddressClass.METADATA, None),  # AWS, for pods
    ("fd00:ec2::254/128", AddressClass.METADATA, None),  # AWS
    ("fd20:ce::254/128", AddressClass.METADATA, None),  # Google
    ("fe80::/10", AddressClass.LINK_LOCAL, None),
    ("fec0::/10", AddressClass.PRIVATE, None),  # site-local, retired by RFC 3879
    ("ff00::/8", AddressClass.MULTICAST, None),
)


def _flatten(size: int) -> tuple[list[bytes], list[tuple[AddressClass, Embeds]]]:
    """Turn the nested blocks of one family into neighbouring ranges, each of the longest block that holds it."""
    blocks = [(ipaddress.ip_network(text), (own, embeds)) for text, own, embeds in _BLOCKS]
    spans = [
        (int(block[0]), int(block[-1]), meaning)
        for block, meaning in sorted(blocks, key=lambda each: -each[0].prefixlen)
        if block.max_prefixlen == 8 * size
    ]
    starts = sorted({first for first, _, _ in spans} | {last + 1 for _, last, _ in spans} - {1 << 8 * size})
    meanings = [next(meaning for first, last, meaning in spans if first <= start <= last) for start in starts]
    return [start.to_bytes(size, "big") for start in starts], meanings


_TABLES: Final = {size: _flatten(size) for size in (4, 16)}


def classify(packed: bytes) -> AddressClass:
    """Tell what kind of place a packed address is. About 0.3 µs, and 2 µs for one that carries another.

    IPv6 that carries IPv4 (mapped, compatible, 6to4, Teredo, NAT64) is what it carries, where that is worse than its
    own block. What a NAT64 with a prefix of its own, out of global space, would make of an address cannot be known.

    Args:
        packed: 4 or 16 bytes; nothing else is an address, and raises KeyError.
    """
    starts, meanings = _TABLES[len(packed)]
    own, embeds = meanings[bisect_right(starts, packed) - 1]
    if embeds is None:
        return own
    return max((own, *map(classify, embeds(packed))), key=_HARM.__getitem__)
