"""Parse source entries: single addresses, CIDR prefixes and ranges; split ranges into CIDR prefixes.

Canonical IPv4 (``192.0.2.7``, ``10.0.0.0/8``) is parsed here, because long lists consist of it: with this parser an
entry takes 3.7 µs to compile, with netaddr's IPAddress 5.9 and with its IPNetwork 6.5 (CPython 3.11, netaddr 1.3).
netaddr parses all other addresses: IPv6, both ends of ranges, text with blanks. The first of them imports it, which
takes 10 ms once a process.

Both are as strict as ``inet_pton(3)``: ``10.1`` and ``012.0.0.1`` are refused, because ``inet_aton(3)`` reads both as
``10.0.0.1``. A mask in place of a prefix length (``10.0.0.0/255.0.0.0``, ``10.0.0.0/0.255.255.255``) is refused too,
because ``/0.0.0.0`` is every address as a netmask and a single one as a hostmask.
"""

from collections.abc import Iterator
from typing import Final, Literal

from .address import OCTETS, UNIX_SOURCE

_HOST_BITS_4: Final = {str(length): 32 - length for length in range(33)}


def read_span(entry: str) -> tuple[int, int, int]:
    """Parse ``192.0.2.7``, ``10.0.0.0/8``, ``192.0.2.10-192.0.2.20``, ``2001:db8::/32`` or ``unix``.

    Host bits of a prefix are dropped. Blanks around the entry and around its parts are ignored.

    Returns:
        The first and the last address as integers, and their size in bytes: 4, 16, or 0 for ``unix``. Mapped IPv6
        (``::ffff:192.0.2.7``) has size 16.

    Raises:
        ValueError: `entry` is none of these, or no text.
    """
    try:
        host, slash, length = entry.partition("/")
        a, b, c, d = host.split(".")
        first = OCTETS[a] << 24 | OCTETS[b] << 16 | OCTETS[c] << 8 | OCTETS[d]
        if not slash:
            return first, first, 4
        host_bits = _HOST_BITS_4[length]
    except (AttributeError, KeyError, TypeError, ValueError):
        return _read_other_span(entry)
    first = first >> host_bits << host_bits
    return first, first | (1 << host_bits) - 1, 4


def _read_other_span(entry: str) -> tuple[int, int, int]:
    """Parse an entry that is not canonical IPv4."""
    if not isinstance(entry, str):
        raise ValueError("an entry is text")
    text = entry.strip()
    if text == UNIX_SOURCE:
        return 0, 0, 0
    version: Literal[4, 6] = 6 if ":" in text else 4
    size = 16 if version == 6 else 4
    low, dash, high = text.partition("-")
    if dash:
        first, last = _read_ip(low, version), _read_ip(high, version)
        if first > last:
            raise ValueError("a range ends before it starts")
        return first, last, size
    host, slash, length = text.partition("/")
    first = _read_ip(host, version)
    if not slash:
        return first, first, size
    length = length.strip()
    if not (length.isascii() and length.isdecimal()):
        raise ValueError("a prefix length is a number")
    host_bits = 8 * size - int(length)  # a shift by a negative number raises ValueError
    first = first >> host_bits << host_bits
    return first, first | (1 << host_bits) - 1, size


def _read_ip(text: str, version: Literal[4, 6]) -> int:
    import netaddr

    try:
        return int(netaddr.IPAddress(text.strip(), version, netaddr.INET_PTON))
    except netaddr.AddrFormatError as error:
        raise ValueError(str(error)) from None


def cover(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """Split a range into the fewest CIDR prefixes, in ascending order. Mapped IPv6 is returned as IPv4.

    Lazy, because a wide IPv6 range has 250 prefixes and is compiled in short steps; takes 0.25 µs a prefix, and
    netaddr's ``cidrs`` 1.4 µs.

    Returns:
        For each prefix ``first << 8 | length`` and its size: 4 or 16 bytes.
    """
    bits = 8 * size
    while first <= last:
        # The largest power of two that is aligned at `first` and does not go past `last`.
        count = min(first & -first or 1 << bits, 1 << (last - first + 1).bit_length() - 1)
        length = bits - count.bit_length() + 1
        if first >> 32 == 0xFFFF:  # in ::ffff:0:0/96; no prefix that is wider starts there
            yield (first & 0xFFFF_FFFF) << 8 | length - 96, 4
        else:
            yield first << 8 | length, size
        first += count
