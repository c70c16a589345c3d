"""The head of an HTTP/1 request, read strictly, and the bytes of short answers (RFC 9110 and 9112).

A head that two programs could read differently is refused: the program behind this one may be the other reader.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import attrs

from .errors import WireError

END: Final = b"\r\n\r\n"
"""The end of a head."""

MAX_FIELDS: Final = 100

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE: Final = re.compile(rb"(%s) ([!-~]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
_FIELD: Final = re.compile(rb"(%s):[\t ]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[\t ]*" % _TOKEN)
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

_ONCE: Final = (b"host", b"content-length", b"transfer-encoding", b"proxy-authorization", b"authorization")
"""Fields of which a second one could be read in place of the first."""


class HttpVersionError(WireError):
    """A head of HTTP that is neither of version 1.0 nor 1.1."""


@attrs.frozen(slots=True, repr=False)
class RequestHead:
    """The head of a request.

    Attributes:
        method: as the client wrote it; methods are case-sensitive.
        target: of visible ASCII.
        minor: the second number of its version, 0 or 1.
        fields: names in small letters, and values without blanks around them, in their order.
    """

    method: bytes
    target: bytes
    minor: int
    fields: tuple[tuple[bytes, bytes], ...]

    def field(self, name: bytes) -> bytes | None:
        """Give the value of the first field of a name, in small letters; None if there is none."""
        for each, value in self.fields:
            if each == name:
                return value
        return None


def read_request(head: bytes) -> RequestHead:
    """Read the head of a request.

    Refused are, besides what the grammar does not have: bare LF and CR, control bytes, folded lines, blanks before a
    colon, empty lines in front, more than 100 fields, a second ``Host``, ``Content-Length``, ``Transfer-Encoding``,
    ``Authorization`` or ``Proxy-Authorization``, both ``Content-Length`` and ``Transfer-Encoding``, a length that is
    no number, any coding but ``chunked``, ``chunked`` in HTTP/1.0, and HTTP/1.1 without ``Host``.

    Args:
        head: all of it, with the empty line at its end.

    Raises:
        HttpVersionError: it is of HTTP, of another version.
        WireError: it is refused.
    """
    if not head.endswith(END):
        raise WireError("the head has no end")
    line, *lines = head[: -len(END)].split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(line)
    if request is None:
        raise WireError("the first line is no request of HTTP/1")
    method, target, major, minor = request.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise HttpVersionError("neither HTTP/1.0 nor HTTP/1.1")
    if len(lines) > MAX_FIELDS:
        raise WireError(f"more than {MAX_FIELDS} fields")
    fields = []
    for each in lines:
        field = _FIELD.fullmatch(each)
        if field is None:
            raise WireError("a line is no field of HTTP/1")
        fields.append((field[1].lower(), field[2]))
    found = RequestHead(method, target, int(minor), tuple(fields))
    _check_singles(found)
    return found


def _check_singles(head: RequestHead) -> None:
    """Check the fields that say how a request is to be read."""
    names = [name for name, _ in head.fields]
    for name in _ONCE:
        if names.count(name) > 1:
            raise WireError(f"more than one field {name.decode()}")
    length, coding = head.field(b"content-length"), head.field(b"transfer-encoding")
    if length is not None and coding is not None:
        raise WireError("both content-length and transfer-encoding")
    if length is not None and not _DIGITS.fullmatch(length):
        raise WireError("content-length is no number")
    if coding is not None and (coding.lower() != b"chunked" or not head.minor):
        raise WireError("a transfer-encoding other than chunked of HTTP/1.1")
    if head.minor and b"host" not in names:
        raise WireError("HTTP/1.1 without the field host")


def agrees(host: bytes, target: bytes) -> bool:
    """Tell whether the field ``Host`` of a CONNECT request names its target, with the port or without it."""
    host, target = host.lower(), target.lower()
    return host in (target, target.rpartition(b":")[0])


def read_basic(value: bytes) -> tuple[str, str] | None:
    """Read user and password of a field ``Proxy-Authorization`` (RFC 7617); None if it has none.

    It has none if it is of another scheme, is no base64, no UTF-8, has no colon, or has control characters.
    """
    scheme, _, token = value.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        text = base64.b64decode(token.strip(b" "), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = text.partition(":")
    if not colon or _CONTROL.search(text):
        return None
    return user, password


def write_answer(status: HTTPStatus, sentence: str, fields: Iterable[str] = ()) -> bytes:
    """Write an answer with a sentence as its body, behind which the connection is closed.

    Args:
        status: its phrase is the standard one.
        sentence: for people, in ASCII.
        fields: more lines of the head.
    """
    body = f"{sentence}\n"
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        *fields,
        "Content-Type: text/plain",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("ascii")
