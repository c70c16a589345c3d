"""The key of a source: the prefix of its address that every limit counts as one client.

An IPv6 customer has a /64 at least, so a limit of single addresses limits no one customer. IPv4-mapped IPv6 is IPv4
long before it comes here.
"""

import ipaddress
from typing import Final

import attrs

from ..arguments import count_fault
from ..errors import ConfigurationError, quote
from .address import UNIX_SOURCE, packed_ip

IPV4_BITS: Final = 32
IPV6_BITS: Final = 128

SOURCE_BITS: Final = 64
"""The prefix of IPv6 that is one source, unless an edge says otherwise: the least that a customer has."""

_NO_GROUPS: Final[tuple[bytes, ...]] = ()


@attrs.frozen(slots=True)
class SourcePrefix:
    """How many leading bits of an address are a source's key.

    Attributes:
        ipv4: bits of an IPv4 address, 1 to 32.
        ipv6: bits of an IPv6 address, 1 to 128.
        cut_from: packed addresses of fewer bytes are their own keys; the caller saves the call of :meth:`key` then.
    """

    ipv4: int = IPV4_BITS
    ipv6: int = SOURCE_BITS
    cut_from: int = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        cut_from = 4 if self.ipv4 < IPV4_BITS else 16 if self.ipv6 < IPV6_BITS else 17
        object.__setattr__(self, "cut_from", cut_from)  # attrs' way to set a field of a frozen object

    def key(self, packed: bytes) -> bytes:
        """Return an address with all bits behind its prefix cleared: 4 or 16 bytes, or none for a local socket."""
        return cut(packed, self.ipv6 if len(packed) == 16 else self.ipv4)

    def finer(self, bits: int | None) -> "SourcePrefix":
        """Return the same for IPv4 with another length for IPv6; itself for None."""
        return self if bits is None else SourcePrefix(self.ipv4, bits)

    def text(self, key: bytes) -> str:
        """Return a key for people: ``192.0.2.7``, ``2001:db8::/64`` or ``unix``."""
        if not key:
            return UNIX_SOURCE
        return prefix_text(key, self.ipv6 if len(key) == 16 else self.ipv4)


def cut(packed: bytes, length: int) -> bytes:
    """Clear all bits of a packed address behind the first `length`. About 0.2 µs."""
    size = len(packed)
    whole, bits = length >> 3, length & 7
    if whole >= size:
        return packed
    if not bits:  # /64 and the like
        return packed[:whole] + bytes(size - whole)
    host_bits = 8 * size - length
    return (int.from_bytes(packed) >> host_bits << host_bits).to_bytes(size)


def prefix_text(packed: bytes, length: int) -> str:
    """Write a prefix: ``2001:db8::/64``; a whole address without its length."""
    host = str(ipaddress.ip_address(packed))
    return host if length == 8 * len(packed) else f"{host}/{length}"


def parse_source_prefix(value: object) -> SourcePrefix:
    """Check the argument `source_prefix` of an edge.

    Raises:
        ConfigurationError: ``Edge(source_prefix=64) must be the prefix lengths of IPv4, 1 to 32, and IPv6, 1 to 128, as
            in (32, 64)``.
    """
    if isinstance(value, (tuple, list)) and len(value) == 2:
        ipv4, ipv6 = value
        if not count_fault(ipv4, maximum=IPV4_BITS) and not count_fault(ipv6, maximum=IPV6_BITS):
            return SourcePrefix(ipv4, ipv6)
    raise ConfigurationError(
        f"Edge(source_prefix={quote(value)}) must be the prefix lengths of IPv4, 1 to 32, and IPv6, 1 to 128, as in "
        "(32, 64)"
    )


def parse_per(owner: str, name: str, value: object, choices: tuple[str, ...]) -> tuple[str, int | None]:
    """Parse the key of a limit: one of `choices`, of which ``source`` and ``peer`` take an IPv6 prefix length.

    Args:
        owner: the stage, for the message.
        name: the argument.
        value: ``source``, ``source/128``, ``peer`` or any other of `choices`.
        choices: the keys of the stage.

    Returns:
        The choice and the length; None for the edge's.

    Raises:
        ConfigurationError: ``SessionGate(per='source/x') must be ...``.
    """
    if isinstance(value, str):
        choice, slash, bits = value.partition("/")
        if choice in choices and not slash:
            return choice, None
        if choice in choices and choice in ("source", "peer") and bits.isascii() and bits.isdecimal() and len(bits) < 4:
            length = int(bits)
            if 1 <= length <= IPV6_BITS:
                return choice, length
    said = " or ".join(map(repr, choices))
    raise ConfigurationError(
        f"{owner}({name}={quote(value)}) must be {said}; a source may name a finer IPv6 prefix of 1 to 128 bits, as in "
        "'source/128'"
    )


def flood_groups(key: object) -> tuple[bytes, ...]:
    """Return the wider prefixes of a source's key, the narrowest first, for tables that must not be filled by one.

    They are /24, /16 and /8 of IPv4, and /48, /32 and /16 of IPv6.

    Args:
        key: a source's key, an address as text, or a tuple that ends with one of these. Any other key has no groups.
    """
    if type(key) is tuple and key:
        key = key[-1]
    if isinstance(key, str):
        key = packed_ip(key)
    if not isinstance(key, bytes):
        return _NO_GROUPS
    if len(key) == 4:
        return key[:3], key[:2], key[:1]
    if len(key) == 16:
        return key[:6], key[:4], b"ipv6/16" + key[:2]  # no two groups have the same bytes
    return _NO_GROUPS


def parse_span(text: object) -> tuple[bytes, bytes]:
    """Parse an address, a prefix or ``unix``, and return the first and the last packed address of it.

    Host bits of a prefix are dropped; mapped IPv6 is IPv4, also as a prefix of at least /96.

    Raises:
        ConfigurationError: quotes `text`.
    """
    if isinstance(text, str):
        host, slash, bits = text.partition("/")
        packed = b"" if host == UNIX_SOURCE and not slash else packed_ip(host)
        if packed is not None and not slash:
            return packed, packed
        if packed is not None and bits.isascii() and bits.isdecimal() and len(bits) < 4:
            size = len(packed)
            length = int(bits) - (96 if size == 4 and ":" in host else 0)
            if 0 <= length <= 8 * size:
                first = cut(packed, length)
                last = int.from_bytes(first) | (1 << 8 * size - length) - 1
                return first, last.to_bytes(size)
    raise ConfigurationError(
        f"source {quote(text)} is not an IP address, nor a prefix such as 2001:db8::/64, nor {UNIX_SOURCE!r}"
    )
