"""A connector with TLS: which name the certificate must have, and the streams that it opens."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio

from tests.support.attempts import open_reactor_and_resolver
from tests.support.names import FakeNames
from tests.support.tls import client_context, server_context
from tests.support.wires import server
from trioedge.addresses.address import parse_address
from trioedge.relay.streams import PlainStream
from trioedge.session.verdict import Reason
from trioedge.upstreams.connector import Target
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.tls.tls_connector import TlsConnector


@asynccontextmanager
async def open_tls(name: str | None = None, *, check: bool = True) -> AsyncIterator[TlsConnector]:
    context = client_context()
    context.check_hostname = check
    names = FakeNames(localhost=["127.0.0.1"], other=["127.0.0.1"])
    async with open_reactor_and_resolver(names) as (reactor, resolver):
        yield TlsConnector(reactor, resolver, context, name)


async def greet(connection: trio.SocketStream, asked: list[str | None]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def choose(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        asked.append(name)
        tls.context = server_context()

    context.sni_callback = choose
    secured = trio.SSLStream(connection, context, server_side=True)
    with suppress(trio.BrokenResourceError):
        await secured.send_all(b"greeting")
        await trio.sleep_forever()


@pytest.mark.parametrize(
    ("host", "name", "check", "asked_for"),
    [
        ("localhost", None, True, "localhost"),
        ("127.0.0.1", None, True, None),
        ("other.test", "localhost", True, "localhost"),
        ("other.test", None, False, "other.test"),
    ],
)
async def test_an_upstream_is_asked_for_the_name_that_its_certificate_must_have(
    host: str, name: str | None, check: bool, asked_for: str | None
) -> None:
    asked: list[str | None] = []
    async with server(partial(greet, asked=asked)) as port, open_tls(name, check=check) as connector:
        with trio.fail_after(5):
            stream = await connector.open_stream(Target(parse_address(f"tcp://{host}:{port}"), 5.0, retries=0))
            assert await stream.receive_some() == b"greeting"
        assert isinstance(stream, PlainStream)
        await stream.aclose()
        assert asked == [asked_for]


async def test_the_name_of_the_destination_is_the_one_that_counts() -> None:
    async with server(partial(greet, asked=[])) as port, open_tls() as connector:
        with pytest.raises(UpstreamError) as caught:
            await connector.open_stream(Target(parse_address(f"tcp://other.test:{port}"), 5.0, retries=0))
        assert caught.value.reason is Reason.UPSTREAM_TLS
        assert "not valid for 'other.test'" in caught.value.detail
