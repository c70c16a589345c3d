"""Read the first message of TLS, the client's hello, without terminating TLS (RFC 8446 section 4.1.2).

The hello may be cut into records of any size (section 5.1). Its server name is that of RFC 6066 section 3, and its
protocols are those of RFC 7301 section 3.1. The hello of a usual client takes 2 to 3 µs.
"""

import re
from functools import lru_cache
from struct import Struct, error
from typing import Final, NamedTuple

from .errors import WireError

MAX_BYTES: Final = 16_384
"""The longest hello, with the headers of its records. Those of usual clients have 200 to 2,000 bytes."""

DECODE_ERROR: Final = 50
"""The alert about a message that cannot be read (RFC 8446 section 6.2)."""

UNRECOGNIZED_NAME: Final = 112
"""The alert about a server name."""

_ALERT: Final = b"\x15\x03"
"""The first bytes of a record: its type, and the version's first number, which never changed."""
_TLS_HANDSHAKE: Final = b"\x16\x03"
_CLIENT_HELLO, _SERVER_NAME, _PROTOCOLS, _HOST_NAME = 1, 0, 16, 0
_RECORD: Final = 5
"""Bytes of the header of a record: its type, version and length."""
_MESSAGE: Final = 4
"""Bytes of the header of a message: its type and length."""
_SESSION_ID: Final = _MESSAGE + 2 + 32
"""The place of the length of the session's id in the message, behind the version and the random number."""

_ONE_RECORD: Final = (1 << 24) - _MESSAGE
"""The header of a hello as a number, less the length of its record, if that record has all of it."""

_SHORT: Final = "it is shorter than its lengths say"
_NO_PROTOCOLS: Final = "its protocols are no list"
_new = tuple.__new__  # a third of the price of ClientHello(...)
_first_record = Struct(">2sxHI").unpack_from
_extension = Struct(">HH").unpack_from  # its type and length
_name_list = Struct(">HBH").unpack_from
_NAME: Final = re.compile(rb"(?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)*(?![0-9]+\Z)(?!-)[a-z0-9_-]{1,63}(?<!-)")


class ClientHello(NamedTuple):
    """What a client says in its first message of TLS.

    Attributes:
        server_name: the host that it wants, in lower case and without a dot at its end; None if it names none.
        protocols: the protocols that it offers to speak over TLS (ALPN), the one that it prefers first.
    """

    server_name: str | None
    protocols: tuple[bytes, ...]


class HelloError(WireError):
    """Bytes that are no hello, or a hello with a fault.

    Attributes:
        alert: the number of the alert that tells the client so; None for a client that does not speak TLS.
    """

    def __init__(self, detail: str, alert: int | None = DECODE_ERROR) -> None:
        super().__init__(detail)
        self.alert = alert


class HelloReader:
    """Reads one hello that arrives piece by piece; no record is looked at twice, so the price is O(bytes).

    A caller that waits for as many bytes as it is told does so once for a hello in one record, and about 50 times for
    16 KiB in records of one byte, because the number covers all that is left of the hello.
    """

    __slots__ = ("_at", "_message")

    def __init__(self) -> None:
        self._message = b""  # the message as far as whole records have it
        self._at = 0  # where the next record begins

    def read(self, held: bytes) -> ClientHello | int:
        """Read the hello, or tell how many bytes it has at least.

        Args:
            held: all bytes of the client so far, those that were read before included.

        Returns:
            The hello; or a number of bytes above ``len(held)``, counted from the client's first one.

        Raises:
            HelloError: the bytes are no hello, whatever follows them.
        """
        message = _in_one_record(held) or self._gather(held)
        if isinstance(message, int):
            return message
        try:
            return _read(message)
        except (IndexError, error):
            raise HelloError(_SHORT) from None

    def _gather(self, held: bytes) -> bytes | int:
        """Give the whole first message, or how many bytes it has at least with the headers of its records."""
        message, at = bytearray(self._message), self._at
        try:
            while left := _size(message) - len(message):
                header = held[at : at + _RECORD]
                if not (header.startswith(_TLS_HANDSHAKE) or _TLS_HANDSHAKE.startswith(header[:2])):
                    raise _not_tls(header) if not at else HelloError("a record of another type comes before its end")
                if len(header) < _RECORD:
                    return _bounded(at + _RECORD + left)
                length = header[3] << 8 | header[4]
                if not length:
                    raise HelloError("it has an empty record")
                end = at + _RECORD + length
                piece = held[at + _RECORD : end]
                start = message if len(message) >= _MESSAGE else message + piece[:_MESSAGE]
                if start and start[0] != _CLIENT_HELLO:
                    raise HelloError("another message comes first")
                left = _size(start) - len(message) - length
                if left < 0 and len(start) >= _MESSAGE:
                    raise HelloError("bytes follow it in its last record")
                if len(piece) < length:
                    return _bounded(end if left <= 0 else end + _RECORD + left)
                message += piece
                at = end
        finally:
            self._message, self._at = bytes(message), at
        _bounded(at)
        return self._message


def fatal_alert(number: int) -> bytes:
    """Give the record of a fatal alert, in clear and in the version that every client reads before it knows another.

    Args:
        number: of the alert, as in RFC 8446 section 6.
    """
    return _ALERT + bytes((1, 0, 2, 2, number))


def _in_one_record(held: bytes) -> bytes | None:
    """Give the first message if the first record has all of it, the usual case; all else is left to the reader."""
    if len(held) > _RECORD + _MESSAGE:
        kind, length, start = _first_record(held)
        if kind == _TLS_HANDSHAKE and start == _ONE_RECORD + length and len(held) >= _RECORD + length <= MAX_BYTES:
            return held[_RECORD : _RECORD + length]
    return None


def _not_tls(header: bytes) -> HelloError:
    """Give the error of a first record that is no part of a hello."""
    return HelloError("it begins with an alert" if header[:1] == _ALERT[:1] else "the bytes are not TLS", None)


def _size(message: bytes | bytearray) -> int:
    """Give the length that a message's header says, the header included; of a part of a header, that of a header."""
    return _MESSAGE + int.from_bytes(message[1:_MESSAGE]) if len(message) >= _MESSAGE else _MESSAGE


def _bounded(needed: int) -> int:
    if needed > MAX_BYTES:
        raise HelloError(f"it has more than {MAX_BYTES:,} bytes")
    return needed


def _read(message: bytes) -> ClientHello:
    """Read a whole message; raises IndexError or struct.error where it ends too early."""
    at = _SESSION_ID
    if message[at] > 32:
        raise HelloError("its session id is too long")
    at += 1 + message[at]
    suites = message[at] << 8 | message[at + 1]
    if suites < 2 or suites % 2:
        raise HelloError("its cipher suites are no list")
    at += 2 + suites
    if not message[at]:
        raise HelloError("it has no compression method")
    at += 1 + message[at]
    end = len(message)
    name: str | None = None
    protocols: tuple[bytes, ...] | None = None
    if at != end:  # before TLS 1.3 a hello may have no extensions
        if at + 2 + (message[at] << 8 | message[at + 1]) != end:
            raise HelloError("its extensions are longer or shorter than it")
        at += 2
        while at < end:
            kind, size = _extension(message, at)
            at += 4
            if kind == _SERVER_NAME:
                if name is not None:
                    raise HelloError("it has two lists of server names")
                name = _server_name(message[at : at + size])
            elif kind == _PROTOCOLS:
                if protocols is not None:
                    raise HelloError("it has two lists of protocols")
                protocols = _protocols(message[at : at + size])
            at += size
    if at != end:
        raise HelloError(_SHORT)
    return _new(ClientHello, (name, protocols or ()))


@lru_cache(1_024)
def _server_name(extension: bytes) -> str:
    """Read the one name of the extension: the lengths of list and name with the type of the name between, and it."""
    size, kind, length = _name_list(extension)
    if kind != _HOST_NAME or length + 3 != size or size + 2 != len(extension):
        raise HelloError("its server names are no list of one host name")
    name = extension[5:].lower().removesuffix(b".")
    if len(name) > 253 or _NAME.fullmatch(name) is None:
        raise HelloError("its server name is no host name", UNRECOGNIZED_NAME)
    return name.decode()


@lru_cache(64)
def _protocols(extension: bytes) -> tuple[bytes, ...]:
    """Read the names of the extension: the length of the list, and each name behind its own."""
    found = []
    at, end = 2, len(extension)
    if int.from_bytes(extension[:2]) != end - 2:
        raise HelloError(_NO_PROTOCOLS)
    while at < end:
        size = extension[at]
        found.append(extension[at + 1 : at + 1 + size])
        at += 1 + size
        if not size:
            raise HelloError(_NO_PROTOCOLS)
    if at != end or not found:
        raise HelloError(_NO_PROTOCOLS)
    return tuple(found)
