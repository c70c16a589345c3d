"""SOCKS 4, 4a and 5: the destination of a request, and the bytes of each answer.

Version 5 is RFC 1928, its login RFC 1929. Versions 4 and 4a are memos by Ying-Da Lee, "SOCKS: A protocol for
TCP proxy across firewalls" and "SOCKS 4A: A simple extension to SOCKS 4 protocol".

| version | the client sends | the server answers |
| --- | --- | --- |
| 5 | 5, the number of its methods, its methods | 5, the method that it chose |
| 5, password | 1, length, user, length, password | 1, and 0 if they are right |
| 5 | 5, command, 0, kind of address, address, port | 5, code, 0, kind of address, address, port |
| 4 | 4, command, port, address, user, 0 | 0, code, port, address |
| 4a | the same with address 0.0.0.x, then the name, 0 | the same |
"""

from enum import IntEnum
from typing import Final

from ..addresses.address import Address
from .destination import packed_destination, read_destination
from .errors import WireError

CONNECT: Final = 1
_COMMANDS: Final = {1: "CONNECT", 2: "BIND", 3: "UDP ASSOCIATE"}

NO_LOGIN: Final = 0
PASSWORD: Final = 2
NO_METHOD: Final = 0xFF

HEAD_5_BYTES: Final = 5
"""The first bytes of a request of version 5: enough to know how many follow."""

HEAD_4_BYTES: Final = 6
"""Port and address of a request of version 4, behind its version and its command."""

MAX_TEXT_4_BYTES: Final = 256
"""The most bytes of a user or a name of version 4, with the zero at its end."""

_IPV4, _NAME, _IPV6 = 1, 3, 4


class Reply(IntEnum):
    """The codes of version 5 (RFC 1928 section 6)."""

    SUCCEEDED = 0
    FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    EXPIRED = 6
    NO_SUCH_COMMAND = 7
    NO_SUCH_ADDRESS_TYPE = 8


class SocksError(WireError):
    """A request that cannot be served.

    Attributes:
        reply: the code of version 5 that says so.
    """

    def __init__(self, detail: str, reply: Reply = Reply.FAILURE) -> None:
        super().__init__(detail)
        self.reply = reply


def bytes_behind(head: bytes) -> int:
    """Say how many bytes of a request of version 5 follow its first five.

    Raises:
        SocksError: it is of another version, or has an unknown kind of address.
    """
    version, _, _, kind, first = head
    if version != 5:
        raise SocksError(f"the request is of version {version}, behind a greeting of version 5")
    if kind == _IPV4:
        return 5
    if kind == _NAME:
        return first + 2
    if kind == _IPV6:
        return 17
    raise SocksError(f"unknown kind of address: {kind}", Reply.NO_SUCH_ADDRESS_TYPE)


def read_request_5(head: bytes, rest: bytes) -> Address:
    """Read the destination of a request of version 5.

    Args:
        head: its first five bytes.
        rest: as many more as :func:`bytes_behind` says.

    Raises:
        SocksError: its command is not CONNECT, or its destination cannot be one.
    """
    port = int.from_bytes(rest[-2:])
    return _destination(head[1], b"" if head[3] == _NAME else head[4:] + rest[:-2], rest[:-2], port)


def names_host(head: bytes) -> bool:
    """Tell whether a request is of version 4a, whose host is named behind the user.

    Args:
        head: port and address.
    """
    return head[2:5] == b"\0\0\0" and head[5] != 0


def read_request_4(command: int, head: bytes, name: bytes = b"") -> Address:
    """Read the destination of a request of version 4 or 4a.

    Args:
        command: the second byte.
        head: port and address, the next six.
        name: of 4a, the host without the zero at its end.

    Raises:
        SocksError: its command is not CONNECT, or its destination cannot be one.
    """
    return _destination(command, b"" if names_host(head) else head[2:], name, int.from_bytes(head[:2]))


def _destination(command: int, packed: bytes, name: bytes, port: int) -> Address:
    """Give the destination of a request by its packed address, or by name if that is empty."""
    if command != CONNECT:
        said = _COMMANDS.get(command, f"command {command}")
        raise SocksError(f"{said} is not supported, only CONNECT", Reply.NO_SUCH_COMMAND)
    try:
        return packed_destination(packed, port) if packed else read_destination(name, port)
    except WireError as error:
        raise SocksError(str(error)) from None


def choice_of(method: int) -> bytes:
    """Write which method of version 5 the server chose."""
    return bytes((5, method))


def login_answer(right: bool) -> bytes:
    """Write whether user and password are right (RFC 1929)."""
    return b"\1\0" if right else b"\1\1"


def reply_5(code: Reply) -> bytes:
    """Write the answer to a request of version 5.

    The address in it is 0.0.0.0:0: a client that connects has no use for the edge's own.
    """
    return bytes((5, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


def reply_4(granted: bool) -> bytes:
    """Write the answer to a request of version 4: 90 or 91. Its address and port are 0, because clients ignore them."""
    return bytes((0, 90 if granted else 91, 0, 0, 0, 0, 0, 0))
