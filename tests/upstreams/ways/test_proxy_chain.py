"""Proxies one behind the other: TLS with a proxy, cancels, and what is left open."""

import ssl
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support import proxies
from tests.support.attempts import open_connector
from tests.support.cancels import cancelled_before, left_open
from tests.support.certificates import self_signed
from tests.support.wires import receive_exactly, server
from trioedge.relay.stream_relay import close_hard
from trioedge.relay.streams import PlainStream
from trioedge.upstreams.connector import Connector
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.ways.proxy_chain import ProxyChain
from trioedge.upstreams.ways.proxy_url import parse_proxy_url


def chain(connector: Connector, *urls: str, tls: ssl.SSLContext | None = None) -> ProxyChain:
    return ProxyChain([parse_proxy_url(url) for url in urls], connector, tls)


async def exchange(stream: Any, expected: bytes = b"ping") -> None:
    await stream.send_all(b"ping")
    assert await receive_exactly(stream, len(expected)) == expected
    await close_hard(stream)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return self_signed(tmp_path_factory.mktemp("tls"))


async def test_behind_a_plain_proxy_there_is_a_plain_socket() -> None:
    async with server() as upstream, proxies.http() as proxy, open_connector() as (connector, _):
        stream = await chain(connector, proxy.url).connect("127.0.0.1", upstream)
        assert isinstance(stream, PlainStream)
        await exchange(stream)


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("greeting", [b"", b"220 "])
async def test_a_proxy_in_tls_is_verified_and_leads_on(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], greeting: bytes
) -> None:
    serving, connecting = contexts
    async with server() as upstream, proxies.http(tls=serving, greeting=greeting) as one, proxies.socks5() as two:
        async with open_connector() as (connector, _):
            way = chain(connector, two.url, one.url, tls=connecting)
            await exchange(await way.connect("127.0.0.1", upstream), greeting + b"ping")
            way = chain(connector, one.url, tls=connecting)
            await exchange(await way.connect("127.0.0.1", upstream), greeting + b"ping")


@pytest.mark.peer("openssl")
async def test_a_proxy_whose_certificate_is_unknown_is_refused_with_the_reason(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with proxies.http(tls=contexts[0]) as proxy, open_connector() as (connector, _):
        before = left_open()
        with pytest.raises(UpstreamError, match=r"TLS failed: .*self-signed certificate") as raised:
            await chain(connector, proxy.url).connect("127.0.0.1", 1)
        assert raised.value.reason is te.Reason.UPSTREAM_UNREACHABLE
        await settled(before)
    assert proxy.asked == []


async def settled(before: object) -> None:
    with trio.fail_after(5):
        while left_open() != before:
            await trio.sleep(0.001)  # the other side notices later


async def test_a_cancel_at_every_step_leaves_nothing_open() -> None:
    async with server() as upstream, proxies.socks5(login=("ann", "x")) as one, proxies.http(greeting=b"2") as two:
        async with open_connector() as (connector, _):
            way = chain(connector, one.url.replace("//", "//ann:x@"), two.url)
            before = left_open()

            async def connect() -> None:
                await close_hard(await way.connect("127.0.0.1", upstream))

            steps = 1
            while await cancelled_before(steps, connect):
                steps += 1
                await settled(before)
            await settled(before)
            assert steps > 10


@pytest.mark.parametrize("second", [False, True])
async def test_an_error_names_the_proxy_that_refused(second: bool) -> None:
    async with proxies.socks5(reply=2 if second else 0) as last, proxies.socks5(reply=0 if second else 2) as first:
        async with open_connector() as (connector, _):
            with pytest.raises(UpstreamError) as raised:
                await chain(connector, first.url, last.url).connect("192.0.2.1", 80)
        to, via = ("192.0.2.1:80", last) if second else (last.url.partition("://")[2], first)
        assert raised.value.detail == f"tcp://{to} via {via.url}: answer 2, not allowed by its rules"


async def test_a_proxy_that_hangs_up_is_unreachable() -> None:
    async def hang_up(connection: trio.SocketStream) -> None:
        await connection.receive_some()

    async with server(hang_up) as port, open_connector() as (connector, reactor):
        for scheme in ("socks5", "socks4", "http"):
            with pytest.raises(UpstreamError, match="the proxy hung up") as raised:
                await chain(connector, f"{scheme}://127.0.0.1:{port}").connect("192.0.2.1", 80)
            assert raised.value.reason is te.Reason.UPSTREAM_UNREACHABLE
        assert len(reactor) == 0
