"""First messages of TLS: those of OpenSSL, and ones made by hand with any fault; and what OpenSSL reads in them."""

import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import cycle

from trioedge.wire.client_hello import ClientHello, HelloReader


def client_hello(server_name: str | None, protocols: Sequence[str] = ()) -> bytes:
    """Give the hello of a client of OpenSSL, in one record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(list(protocols))
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a client that has heard nothing waits")


def listed(*items: bytes, size: int = 2) -> bytes:
    """Give items behind the length of all of them, which has `size` bytes."""
    return sum(map(len, items)).to_bytes(size) + b"".join(items)


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2) + listed(data)


def name_extension(name: bytes, kind: int = 0) -> bytes:
    return extension(0, listed(bytes([kind]) + listed(name)))


def protocols_extension(*names: bytes) -> bytes:
    return extension(16, listed(*(listed(name, size=1) for name in names)))


def body(
    *extensions: bytes, session_id: bytes = b"", suites: bytes = b"\x13\x01\xc0\x2f", compressions: bytes = b"\0"
) -> bytes:
    """Give what a hello has behind its header."""
    start = b"\3\3" + bytes(32) + listed(session_id, size=1) + listed(suites) + listed(compressions, size=1)
    return start + listed(*extensions)


def message(inside: bytes, kind: int = 1) -> bytes:
    """Put the header of a hello before its body."""
    return bytes([kind]) + listed(inside, size=3)


def records(whole: bytes, sizes: Iterable[int] = (16_384,)) -> bytes:
    """Cut a message into records of these sizes, which begin again when they have all been used."""
    return b"".join(b"\x16\3\1" + listed(piece) for piece in _pieces(whole, cycle(sizes)))


def _pieces(whole: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    while whole:
        size = next(sizes)
        yield whole[:size]
        whole = whole[size:]


def read_client_hello(held: bytes) -> ClientHello | int:
    """Read the first bytes of a client once."""
    return HelloReader().read(held)


def openssl_reads(sent: bytes) -> list[str | None]:
    """Give the server name that OpenSSL finds, None if there is none; an empty list where it finds no hello."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _tls, name, _context: names.append(name)
    incoming = ssl.MemoryBIO()
    incoming.write(sent)
    with suppress(ssl.SSLError):
        context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
    return names
