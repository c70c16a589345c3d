"""Addresses, prefixes and ranges as people write them, to numbers; strict, and a few microseconds each."""

from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import Final

from .address import UNIX_SOURCE

_OCTETS: Final = {str(octet): octet for octet in range(256)}


def read_span(entry: str) -> tuple[int, int, int]:
    """Read an entry: ``192.0.2.7``, ``10.0.0.0/8``, ``192.0.2.10-192.0.2.20``, ``2001:db8::/32`` or ``unix``.

    Returns:
        The first and the last address that it holds, as numbers, and their size in bytes: 4, 16, or 0 for ``unix``.

    Raises:
        ValueError: or a LookupError, TypeError or AttributeError, whichever comes first: it is none of these.
    """
    if entry == UNIX_SOURCE:
        return 0, 0, 0
    low, dash, high = entry.partition("-")
    if dash:
        first, size = _ip(low)
        last, other_size = _ip(high)
        if size != other_size or first > last:
            raise ValueError("a range goes up")
        return first, last, size
    host, slash, length = entry.partition("/")
    first, size = _ip(host)
    if not slash:
        return first, first, size
    if not (length.isascii() and length.isdecimal()):
        raise ValueError("a prefix length is a number")
    host_bits = 8 * size - int(length)  # a shift by less than none is a ValueError
    first = first >> host_bits << host_bits
    return first, first | (1 << host_bits) - 1, size


def _ip(text: str) -> tuple[int, int]:
    # As strict as inet_pton, so that 10.1 or 012.0.0.1 never mean what nobody meant.
    text = text.strip()
    if ":" not in text:
        a, b, c, d = text.split(".")
        return _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d], 4
    if "%" in text:
        raise ValueError("a rule has no scope")
    return int(IPv6Address(text)), 16


def cover(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """Give the prefixes that together hold `first` to `last`, each as ``first << 8 | length`` and size.

    Mapped IPv6 comes as IPv4.
    """
    bits = 8 * size
    while first <= last:
        count = min(first & -first or 1 << bits, 1 << (last - first + 1).bit_length() - 1)
        length = bits - count.bit_length() + 1
        if first >> 32 == 0xFFFF:  # ::ffff:0:0/96 and narrower: nothing wider begins here
            yield (first & 0xFFFF_FFFF) << 8 | length - 96, 4
        else:
            yield first << 8 | length, size
        first += count
