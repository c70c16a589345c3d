"""The handshake of TLS behind a connect: its results, its deadline, and a cancel at each step."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.support.attempts import Noted, open_reactor_and_resolver
from tests.support.reactors import deadlines_of
from tests.support.tls import client_context, make_certificate, server_context
from tests.support.wires import Script, server, silent
from trioedge.addresses.address import parse_address
from trioedge.loop.reactor import Reactor
from trioedge.relay.tls_socket import TlsSocket
from trioedge.session.verdict import Reason
from trioedge.upstreams.connector import Target
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.tls.tls_connector import TlsConnector


@asynccontextmanager
async def open_tls(context: ssl.SSLContext, name: str | None = None) -> AsyncIterator[tuple[TlsConnector, Reactor]]:
    async with open_reactor_and_resolver() as (reactor, resolver):
        yield TlsConnector(reactor, resolver, context, name), reactor


async def tls_server(connection: trio.SocketStream, context: ssl.SSLContext | None = None) -> None:
    """Do the handshake, greet, and stay."""
    secured = trio.SSLStream(connection, context or server_context(), server_side=True)
    with suppress(trio.BrokenResourceError):
        await secured.send_all(b"greeting")
        await trio.sleep_forever()


def target(port: int, seconds: float = 5.0, host: str = "127.0.0.1") -> Target:
    return Target(parse_address(f"tcp://{host}:{port}"), seconds, retries=0)


async def result(connector: TlsConnector, reactor: Reactor, wanted: Target) -> Noted:
    noted = Noted()
    reactor.refresh()
    connector.start(wanted, noted)
    with trio.fail_after(5):
        await noted.called.wait()
    return noted


async def test_the_callback_gets_a_socket_that_speaks_tls_and_is_registered() -> None:
    async with server(tls_server) as port, open_tls(client_context()) as (connector, reactor):
        noted = await result(connector, reactor, target(port))
        assert isinstance(noted.sock, TlsSocket)
        assert noted.readable
        assert noted.sock.info().subject == "CN=localhost,O=Example"
        assert noted.sock.fileno() in reactor
        assert deadlines_of(reactor) == 0
        reactor.forget(noted.sock.fileno())
        noted.sock.close()


async def failing(script: Script, context: ssl.SSLContext, name: str | None = None, seconds: float = 5.0) -> str:
    """Give the reason and the detail of an attempt, without the address."""
    async with server(script) as port, open_tls(context, name) as (connector, reactor):
        noted = await result(connector, reactor, target(port, seconds))
        assert noted.error is not None
        assert len(reactor) == deadlines_of(reactor) == 0
        label = f"tcp://127.0.0.1:{port}: "
        assert noted.error.detail.startswith(label)
        return f"{noted.error.reason}: {noted.error.detail.removeprefix(label)}"


async def says_no_tls(connection: trio.SocketStream) -> None:
    await connection.send_all(b"220 ready\r\n" * 10)
    await trio.sleep_forever()


async def leaves(connection: trio.SocketStream) -> None:
    await connection.receive_some()


async def test_a_certificate_that_is_not_trusted_fails_with_the_reason(tmp_path: Path) -> None:
    assert await failing(tls_server, ssl.create_default_context()) == (
        "upstream_tls: TLS: certificate verify failed: self-signed certificate"
    )


async def test_a_certificate_for_another_name_fails_with_the_reason() -> None:
    words = "certificate is not valid for 'other.example'."
    assert await failing(tls_server, client_context(), "other.example") == (
        f"upstream_tls: TLS: certificate verify failed: Hostname mismatch, {words}"
    )


async def test_a_certificate_that_has_no_such_address_fails_with_the_reason(tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path, "named.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    script = partial(tls_server, context=context)
    found = await failing(script, client_context(chain=chain))
    assert found.startswith("upstream_tls: TLS: certificate verify failed: IP address mismatch")


async def test_an_upstream_that_speaks_no_tls_fails_with_the_reason() -> None:
    assert await failing(says_no_tls, client_context()) == "upstream_tls: TLS: wrong version number"


async def test_an_upstream_that_leaves_fails_with_the_reason() -> None:
    assert await failing(leaves, client_context()) == "upstream_tls: TLS: the peer left"


async def test_a_silent_upstream_fails_at_the_limit_of_the_whole_attempt() -> None:
    assert await failing(silent, client_context(), seconds=0.2) == "upstream_timeout: no handshake of TLS in time"


async def test_a_name_that_cannot_be_one_fails_and_closes_the_socket() -> None:
    found = await failing(silent, client_context(), "x" * 70)
    assert found.startswith("upstream_tls: TLS: ")


async def test_a_local_socket_needs_a_name_to_be_checked(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        async with open_tls(client_context()) as (connector, reactor):
            wanted = Target(parse_address(f"unix://{tmp_path}/s"), 5.0, retries=0)
            noted = await result(connector, reactor, wanted)
            assert noted.error is not None
            assert noted.error.reason is Reason.UPSTREAM_TLS
            assert "no name to be checked for: write server_name=" in noted.error.detail


@pytest.mark.parametrize("pause", [0, 0.05])
async def test_a_cancelled_attempt_leaves_nothing_open(pause: float) -> None:
    async with server(silent) as port, open_tls(client_context()) as (connector, reactor):
        noted = Noted()
        reactor.refresh()
        attempt = connector.start(target(port), noted)
        await trio.sleep(pause)
        attempt.cancel()
        attempt.cancel()
        assert len(reactor) == deadlines_of(reactor) == 0
        await trio.sleep(0.05)
        assert not noted.called.is_set()


async def test_a_stream_is_connected_for_stages_that_want_one() -> None:
    async with server(tls_server) as port, open_tls(client_context()) as (connector, _):
        stream = await connector.open_stream(target(port))
        with trio.fail_after(5):
            assert await stream.receive_some() == b"greeting"
        await stream.aclose()
        with pytest.raises(UpstreamError):
            await connector.open_stream(target(1, 0.2))


async def test_a_callback_that_raises_costs_its_own_connect() -> None:
    class Raises(Noted):
        def connected(self, sock: object, readable: bool) -> None:
            raise ValueError("a bug")

    async with server(tls_server) as port, open_tls(client_context()) as (connector, reactor):
        noted = Raises()
        reactor.refresh()
        connector.start(target(port), noted)
        with trio.fail_after(5):
            await noted.called.wait()
        assert noted.error is not None
        assert noted.error.reason is Reason.FAULT
        assert len(reactor) == 0
