"""Certificates made by openssl, and a TLS peer of the tests' own, which says and hears each thing by itself."""

import socket
import ssl
import subprocess
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import pytest
import trio

from tests.support.programs import need
from tests.support.relays import local_pair
from tests.support.wires import tcp_pair
from trioedge.relay.tls_socket import TlsSocket

Heard = tuple[bytes, Literal["end", "cut", "reset"]]

READ_BYTES = 65_536
SAID = bytes(range(251)) * 1_000
BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])
"""Of TLS."""
KEYS = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["-newkey", "rsa:2048"]}


def openssl(*arguments: str | Path) -> bytes:
    """Run openssl, which the test needs."""
    need("openssl")
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout


def make_certificate(
    folder: Path, *names: str, key: str = "ec", days: int = 2, common_name: str | None = None, stem: str = ""
) -> tuple[Path, Path]:
    """Make a certificate that signs itself.

    Args:
        folder: where its two files are written.
        names: its DNS names; `localhost` also has the address 127.0.0.1.
        key: `ec` or `rsa`.
        days: how long it is valid; 0 for one that has expired by the next second.
        common_name: of its subject; the first name if None.
        stem: of the names of the files; the first name if it is empty.

    Returns:
        The chain and the key.
    """
    stem = stem or names[0].replace("*", "any")
    chain, secret = folder / f"{stem}.pem", folder / f"{stem}.key"
    alternatives = [f"DNS:{name}" for name in names] + ["IP:127.0.0.1"] * ("localhost" in names)
    subject = ["-addext", "subjectAltName=" + ",".join(alternatives)] if alternatives else []
    openssl("req", "-x509", *KEYS[key], "-nodes", "-days", str(days), *subject,
            "-subj", f"/O=Example/CN={common_name or names[0]}", "-keyout", secret, "-out", chain)  # fmt: skip
    return chain, secret


@cache
def localhost() -> tuple[Path, Path]:
    """A chain and a key for `localhost`, made once."""
    return make_certificate(Path(mkdtemp(prefix="tls")), "localhost")


@cache
def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*localhost())
    return context


def client_context(version: str = "1.3", chain: Path | None = None) -> ssl.SSLContext:
    """A client that trusts one certificate and speaks one version of TLS."""
    context = ssl.create_default_context(cafile=str(chain or localhost()[0]))
    number = ssl.TLSVersion.TLSv1_3 if version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.minimum_version = context.maximum_version = number
    return context


class TlsPeer:
    """A TLS peer over a socket that does not block.

    Attributes:
        sock: the socket.
        tls: OpenSSL's side.
    """

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, *, server: bool = False, name: str | None = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:  # fmt: skip
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server, None if server else name, session)

    def step(self) -> bool:
        """Go on with the handshake, and tell whether it is done."""
        with suppress(BlockingIOError):
            self.incoming.write(self.sock.recv(READ_BYTES))
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False
        finally:
            self.flush()

    async def shake(self) -> None:
        """Do the handshake."""
        with trio.fail_after(5):
            while not self.step():
                await trio.sleep(0.001)

    def flush(self) -> None:
        if self.outgoing.pending:
            self.sock.send(self.outgoing.read())

    def send(self, data: bytes) -> None:
        """Send what its kernel takes at once, which must be all."""
        self.tls.write(data)
        self.flush()

    async def send_all(self, data: bytes) -> None:
        """Send all, however slowly it is taken."""
        for start in range(0, len(data), READ_BYTES):
            self.tls.write(data[start : start + READ_BYTES])
            rest = self.outgoing.read()
            while rest:
                try:
                    rest = rest[self.sock.send(rest) :]
                except BlockingIOError:
                    await trio.sleep(0.002)

    def say_end(self) -> None:
        """Say close_notify; the connection's half stays open."""
        held = self.incoming.read()  # else OpenSSL looks there for the other side's
        with suppress(ssl.SSLError):
            self.tls.unwrap()
        self.incoming.write(held)
        self.flush()

    def read_now(self) -> bytes:
        """Read what is there."""
        heard = bytearray()
        with suppress(BlockingIOError):
            while data := self.sock.recv(READ_BYTES):
                self.incoming.write(data)
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while data := self.tls.read(READ_BYTES):
                heard += data
        return bytes(heard)

    async def read(self, count: int) -> bytes:
        """Wait for so many bytes."""
        heard = b""
        with trio.fail_after(5):
            while len(heard) < count:
                heard += self.read_now()
                await trio.sleep(0.001)
        return heard

    async def read_to_end(self, size: int = READ_BYTES, pause: float = 0.0) -> Heard:
        """Read until close_notify (`end`), the end of the connection without it (`cut`) or a reset."""
        heard = bytearray()
        with trio.fail_after(10):
            while True:
                try:
                    while data := self.tls.read(READ_BYTES):
                        heard += data
                    return bytes(heard), "end"
                except ssl.SSLZeroReturnError:
                    return bytes(heard), "end"
                except ssl.SSLWantReadError:
                    pass
                try:
                    data = self.sock.recv(size)
                except BlockingIOError:
                    await trio.sleep(0.002)
                except ConnectionResetError:
                    return bytes(heard), "reset"
                else:
                    if not data:
                        return bytes(heard), "cut"
                    self.incoming.write(data)
                    if pause:
                        await trio.sleep(pause)


def shake_in_memory(
    context: Any, client: ssl.SSLContext, ticket: ssl.SSLSession | None = None
) -> tuple[ssl.SSLSession | None, bool]:
    """Do a handshake without sockets; gives the client's ticket, and whether it resumed the one before."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, False, "localhost", ticket)
    far = context.wrap_bio(to_server, to_client, True)
    left = [near, far]
    while left:
        for side in tuple(left):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
                left.remove(side)
    with suppress(ssl.SSLWantReadError):
        near.read(1)  # the ticket of TLS 1.3
    return near.session, bool(near.session_reused)


def shake(peer: TlsPeer, near: TlsSocket) -> None:
    """Have both do their handshake, which needs no waiting on one machine."""
    done = [False, False]
    for _ in range(1000):
        done[0] = done[0] or peer.step()
        done[1] = done[1] or near.handshake()
        if all(done):
            return
    raise AssertionError("the handshake does not end")


class TlsPairs:
    """Peers and TlsSockets that have done their handshake, for the length of a block."""

    def __init__(self) -> None:
        self._open: list[socket.SocketType] = []

    def __enter__(self) -> "TlsPairs":
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._open:
            sock.close()

    def sockets(self, *, local: bool = False) -> tuple[socket.socket, socket.socket]:
        """Make two connected sockets that do not block."""
        pair = local_pair() if local else tcp_pair()
        self._open += pair
        return pair

    def begin(self, near: socket.socket, received: bytes = b"") -> TlsSocket:
        """Make a server's side that has yet to do its handshake."""
        begun = TlsSocket(near, server_context(), received)
        self._open.append(begun)
        return begun

    def pair(self, version: str = "1.3", *, client: bool = False, local: bool = False) -> tuple[TlsPeer, TlsSocket]:
        """Make a peer and a TlsSocket.

        Args:
            version: of TLS.
            client: whether the TlsSocket is the client.
            local: whether they are over local sockets.
        """
        far, sock = self.sockets(local=local)
        if client:
            near = TlsSocket(sock, client_context(version), server_name="localhost", client=True)
            peer = TlsPeer(far, server_context(), server=True)
            self._open.append(near)
        else:
            near = self.begin(sock)
            peer = TlsPeer(far, client_context(version))
        shake(peer, near)
        return peer, near


def buffer() -> memoryview:
    return memoryview(bytearray(65_536))


def read_all(near: TlsSocket, room: int = 0) -> bytes:
    """Read as the relay does: until the socket says that there is nothing more."""
    heard, memory = bytearray(), buffer()
    while True:
        try:
            count = near.recv_into(memory, room)
        except BlockingIOError:
            return bytes(heard)
        heard += memory[:count]
        if not count or not near.more:
            return bytes(heard)


def stuff(near: TlsSocket) -> None:
    """Send until both kernels are full, and stay so."""
    while fill(near, SAID):
        time.sleep(0.01)


def fill(near: TlsSocket, data: bytes) -> int:
    """Send until no more is taken; gives how many bytes count as sent."""
    sent = 0
    while sent < len(data):
        try:
            sent += near.send(memoryview(data)[sent : sent + 65_536])
        except BlockingIOError:
            break
    return sent
