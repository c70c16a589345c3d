"""The host and the port that a client names, read as an address to connect to."""

import ipaddress
import re
from typing import Final

from ..addresses.address import Address, is_host_name, packed_ip
from .errors import WireError

_AUTHORITY: Final = re.compile(rb"(\[[^][]*\]|[^][:]*):([1-9][0-9]{0,4})")


def read_destination(host: bytes, port: int) -> Address:
    """Read a host and a port that a client names.

    Args:
        host: a host name (RFC 1123 section 2.1, underscores allowed) of at most 253 letters of ASCII, or an IP address;
            IPv6 with or without brackets, and without an interface.
        port: a number of two bytes.

    Raises:
        WireError: it is neither, or the port is 0.
    """
    if not port:
        raise WireError("port 0")
    text = host.decode("ascii", "replace").lower()
    if is_host_name(text):
        return Address("tcp", text, port)
    packed = packed_ip(text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text)
    if packed is None or "%" in text:  # an interface of the edge is not the client's to name
        raise WireError("the host is neither a name nor an IP address")
    return packed_destination(packed, port)


def packed_destination(packed: bytes, port: int) -> Address:
    """Give the address of 4 or 16 packed bytes; IPv4 that is mapped into IPv6 is written as IPv4.

    Raises:
        WireError: the port is 0.
    """
    if not port:
        raise WireError("port 0")
    if len(packed) == 4:
        return Address("tcp", "{}.{}.{}.{}".format(*packed), port)
    address = ipaddress.IPv6Address(packed)
    return Address("tcp", str(address.ipv4_mapped or address), port)


def read_authority(authority: bytes) -> Address:
    """Read ``host:port`` or ``[IPv6]:port``, as the target of a CONNECT request has it (RFC 9110 section 9.3.6).

    The port is 1 to 65535 without leading zeros. User information, paths and percent-encoding are refused.

    Raises:
        WireError: it is none.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None or int(match[2]) > 65_535:
        raise WireError("the target is not host:port")
    return read_destination(match[1], int(match[2]))
