"""The names of both ends, as an application gets them."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from tests.support.wires import tcp_pair
from trioedge.endpoints.asgi.end_names import EndNames
from trioedge.relay.streams import PlainStream
from trioedge.testing import make_session
from trioedge.testing.upstream import memory_pair


@contextmanager
def plain_pair() -> Iterator[PlainStream]:
    near, far = tcp_pair()
    stream = PlainStream(near)
    try:
        yield stream
    finally:
        stream.close()
        far.close()


async def test_a_client_in_memory_reached_the_listener() -> None:
    session = make_session("2001:db8::7", listener="tcp://[::1]:443", port=4321)
    session.stream = memory_pair(lockstep=False)[0]
    assert EndNames.of(session) == EndNames(("2001:db8::7", 4321), ("::1", 443), None)


async def test_a_client_of_a_local_socket_has_no_name_and_its_server_a_path() -> None:
    session = make_session("unix", listener="unix:///run/edge.sock")
    session.stream = memory_pair(lockstep=False)[0]
    assert EndNames.of(session) == EndNames(None, ("/run/edge.sock", None), None)


async def test_a_client_that_a_balancer_names_is_the_client() -> None:
    session = make_session("192.0.2.1")
    session.set_source("198.51.100.9", 1234)
    session.stream = memory_pair(lockstep=False)[0]
    assert EndNames.of(session).client == ("198.51.100.9", 1234)


async def test_a_plain_socket_says_which_address_of_the_edge_was_reached() -> None:
    session = make_session("127.0.0.1", listener="tcp://0.0.0.0:1")
    with plain_pair() as stream:
        session.stream = stream
        assert EndNames.of(session).server == stream.socket.getsockname()


@pytest.mark.parametrize(("agreed", "expected"), [("h2", "h2"), ("http/1.1", "http/1.1"), (None, "http/1.1")])
async def test_tls_names_the_protocol_that_it_agreed_on(
    monkeypatch: pytest.MonkeyPatch, agreed: str | None, expected: str
) -> None:
    session = make_session()
    stream: Any = trio.SSLStream(memory_pair(lockstep=False)[0], ssl.create_default_context(), server_hostname="edge")
    monkeypatch.setattr(trio.SSLStream, "selected_alpn_protocol", lambda _: agreed, raising=False)
    session.stream = stream
    assert EndNames.of(session).alpn == expected
