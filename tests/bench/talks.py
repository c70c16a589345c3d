"""What clients say first in each protocol, as the load client reads it: `HEX:COUNT`, bytes out and a count of bytes in.

The last step of a talk has the client's first bytes for the upstream, because its session is measured up to the reply.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Mapping

PING = b"trioedge bench ping".ljust(64, b"\0")
SERVER_NAME = "bench.example"
REQUEST = b"GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n"
SOURCE = b"192.0.2.7"
"""The client that a PROXY header names."""


def proxy_v1(port: int, upstream: int) -> Mapping[str, str]:
    """A header of PROXY v1, in one write with the first bytes."""
    header = b"PROXY TCP4 %b 127.0.0.1 56324 %d\r\n" % (SOURCE, port)
    return {"TALK": _step(header + PING, len(PING))}


def socks5(port: int, upstream: int) -> Mapping[str, str]:
    """SOCKS 5 without a login: the greeting, then a request by address."""
    request = b"\x05\x01\x00\x01" + socket.inet_aton("127.0.0.1") + struct.pack(">H", upstream)
    return {"TALK": " ".join([_step(b"\x05\x01\x00", 2), _step(request, 10), _step(PING, len(PING))])}


def connect(port: int, upstream: int) -> Mapping[str, str]:
    """CONNECT of HTTP/1.1; each proxy has an answer of its own length, which is found out here."""
    authority = b"127.0.0.1:%d" % upstream
    head = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority)
    return {"TALK": " ".join([_step(head, _answer_size(port, head)), _step(PING, len(PING))])}


def client_hello(port: int, upstream: int) -> Mapping[str, str]:
    """A hello of TLS 1.3 that names a host; the upstream echoes it, as a server answers it with a hello of its own."""
    return {"TALK": _step(HELLO, len(HELLO))}


def http(port: int, upstream: int) -> Mapping[str, str]:
    """Requests on one connection."""
    step = _step(REQUEST, _answer_size(port, REQUEST))
    return {"TALK": step, "ASK": step}


def _hello() -> bytes:
    sent = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname=SERVER_NAME)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()
    raise AssertionError("a client of TLS waits for its server")


HELLO = _hello()


def _step(data: bytes, count: int) -> str:
    return f"{data.hex()}:{count}"


def _answer_size(port: int, request: bytes) -> int:
    """Bytes of the answer to a request, head and body."""
    with socket.create_connection(("127.0.0.1", port), 5.0) as sock:
        sock.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            if not (data := sock.recv(4096)):
                raise RuntimeError(f"the answer ends in its head: {answer!r}")
            answer += data
    head, _, _ = answer.partition(b"\r\n\r\n")
    if head.split(b" ")[1:2] != [b"200"]:
        raise RuntimeError(f"a request was refused: {head!r}")
    body = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return len(head) + 4 + (int(body[1]) if body else 0)
