import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.tls import SAID, TlsPeer, client_context, localhost, server_context
from tests.support.wires import connect, echo, receive_all, receive_exactly, server, serving


async def test_an_endpoint_may_name_its_way_out() -> None:
    async with server(echo) as port:
        endpoint = te.Forward(f"tcp://127.0.0.1:{port}", outbound=te.Direct())
        async with serving(te.Edge("tcp://127.0.0.1:0", [], endpoint)) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"


def test_it_is_a_value() -> None:
    assert te.Direct() == te.Direct()
    assert te.Direct(proxy_protocol="v1") != te.Direct()


@pytest.mark.parametrize("version", ["v3", "1", 2, True, ""])
def test_a_version_of_the_proxy_protocol_that_there_is_not_is_refused(version: object) -> None:
    with pytest.raises(te.ConfigurationError, match=r"^Direct\(proxy_protocol=.*\) must be 'v1' or 'v2'$"):
        te.Direct(proxy_protocol=version)  # type: ignore[arg-type]


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


class Upstream:
    """An upstream that speaks TLS, and echoes all once it has heard the end.

    Attributes:
        handshakes: how many it has done.
        protocols: agreed on, one for each.
    """

    def __init__(self) -> None:
        self.handshakes = 0
        self.protocols: list[str | None] = []

    async def serve(self, connection: trio.SocketStream) -> None:
        sock = socket.socket(fileno=connection.socket.detach())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*localhost())
        context.set_alpn_protocols(["h2", "http/1.1"])
        with sock, suppress(ssl.SSLError, OSError):
            peer = TlsPeer(sock, context, server=True)
            await peer.shake()
            self.handshakes += 1
            self.protocols.append(peer.tls.selected_alpn_protocol())
            heard, how = await peer.read_to_end()
            assert how == "end"
            await peer.send_all(heard)
            peer.say_end()
            sock.shutdown(socket.SHUT_WR)
            await peer_left(sock)


async def peer_left(sock: socket.socket) -> None:
    with trio.move_on_after(2):
        while True:
            try:
                if not sock.recv(1_000):
                    return
            except BlockingIOError:
                await trio.sleep(0.002)


@asynccontextmanager
async def to_tls(direct: te.Direct, *stages: object, **options: Any) -> AsyncIterator[tuple[int, Upstream, te.Edge]]:
    upstream = Upstream()
    async with server(upstream.serve) as port:
        endpoint = te.Forward(f"tcp://127.0.0.1:{port}", outbound=direct, **options)
        edge = te.Edge("tcp://127.0.0.1:0", list(stages), endpoint)
        async with serving(edge) as edge_port:
            yield edge_port, upstream, edge


async def say_all(port: int, data: bytes) -> bytes:
    """Say something, end, and hear all."""
    async with await connect(port) as client:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(send_to_end, client, data))
                return await receive_all(client)


async def send_to_end(client: trio.SocketStream, data: bytes) -> None:
    await client.send_all(data)
    await client.send_eof()


@pytest.mark.parametrize("stages", [(), (pass_on,)], ids=["in the reactor", "behind a middleware"])
@pytest.mark.parametrize("preconnect", [0, 2])
async def test_an_upstream_with_tls_gets_all_and_its_end_and_answers(stages: tuple[object], preconnect: int) -> None:
    direct = te.Direct(client_context())
    async with to_tls(direct, *stages, preconnect=preconnect) as (port, upstream, edge):
        if preconnect:
            with trio.fail_after(5):
                while upstream.handshakes < preconnect:
                    await trio.sleep(0.001)
        for data in (b"ping", SAID * 12):
            assert await say_all(port, data) == data
        with trio.fail_after(5):
            while edge.statistics().ended.get(te.Reason.FINISHED, 0) < 2:
                await trio.sleep(0.001)
        assert upstream.handshakes >= 2


async def test_protocols_are_offered() -> None:
    context = client_context()
    context.set_alpn_protocols(["http/1.1"])
    async with to_tls(te.Direct(context)) as (port, upstream, _):
        await say_all(port, b"x")
        assert upstream.protocols == ["http/1.1"]


async def test_an_upstream_that_is_not_trusted_ends_the_session_with_the_reason() -> None:
    async with to_tls(te.Direct(tls=True, alpn=["h2"])) as (port, _, edge):
        client = await connect(port)
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(5):
            await client.receive_some()
        await client.aclose()
        assert edge.statistics().ended == {te.Reason.UPSTREAM_TLS: 1}


async def test_an_idle_connection_that_the_upstream_ends_in_order_is_replaced() -> None:
    done = 0

    async def shake_and_leave(connection: trio.SocketStream) -> None:
        nonlocal done
        secured = trio.SSLStream(connection, server_context(), server_side=True)
        with suppress(trio.BrokenResourceError):
            await secured.do_handshake()
            done += 1
            if done == 1:
                await secured.aclose()
            await trio.sleep_forever()

    async with server(shake_and_leave) as port:
        endpoint = te.Forward(f"tcp://127.0.0.1:{port}", outbound=te.Direct(client_context()), preconnect=1)
        async with serving(te.Edge("tcp://127.0.0.1:0", [], endpoint)):
            with trio.fail_after(5):
                while done < 2:
                    await trio.sleep(0.001)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tls": "yes"}, r"Direct\(tls='yes'\) must be True, False or an ssl.SSLContext"),
        ({"tls": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)}, r"has the context of a server: make it with ssl.create_def"),
        ({"alpn": ["h2"]}, r"need TLS: write Direct\(tls=True"),
        ({"server_name": "a"}, r"need TLS: write Direct\(tls=True"),
        ({"tls": ssl.create_default_context(), "alpn": ["h2"]}, r"a context of your own: call its set_alpn_protocols"),
        ({"tls": True, "alpn": [""]}, r"Direct\(alpn\) has '': write a protocol"),
        ({"tls": True, "alpn": 5}, r"Direct\(alpn\) has 5: write a protocol"),
        ({"tls": True, "proxy_protocol": "v1"}, r"the header precedes TLS"),
        ({"tls": True, "server_name": 5}, r"Direct\(server_name=5\) must be the name of a host"),
    ],
)
def test_a_fault_of_an_argument_is_named_with_the_mend(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(te.ConfigurationError, match=words):
        te.Direct(**arguments)
