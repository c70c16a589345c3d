"""The examples that choose an upstream by the first bytes of a client, or by its port, do what they say."""

import runpy
from pathlib import Path

import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.hellos import client_hello
from trioedge.testing import open_edge

EXAMPLES = Path(__file__).parents[1] / "examples"


async def reached(example: str, sent: bytes) -> tuple[list[str], float]:
    """Give the upstreams that a client of an example reaches by its first bytes, and how long that takes."""
    edge = runpy.run_path(str(EXAMPLES / example))["edge"]
    assert isinstance(edge, te.Edge)
    async with open_edge(edge) as world:
        client = await world.connect()
        began = trio.current_time()
        if sent:
            await client.send(sent)
            with trio.move_on_after(1):
                await client.receive(len(sent))
        while not world.upstream.asked and client.outcome is None:
            await trio.sleep(0.01)
        return [str(address) for address in world.upstream.asked], trio.current_time() - began


@pytest.mark.parametrize(
    ("name", "upstreams"),
    [
        ("shop.localhost", ["tcp://127.0.0.1:9443"]),
        ("SHOP.localhost", ["tcp://127.0.0.1:9443"]),
        ("ann.blog.localhost", ["tcp://127.0.0.1:9444"]),
        ("blog.localhost", []),
        (None, []),
    ],
)
async def test_tls_is_routed_by_its_server_name(
    name: str | None, upstreams: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    assert (await reached("sni_route.py", client_hello(name)))[0] == upstreams


@pytest.mark.parametrize(
    ("sent", "upstream"),
    [
        (client_hello("shop.localhost"), "tcp://127.0.0.1:9443"),
        (client_hello("other.localhost"), "tcp://127.0.0.1:9444"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "tcp://127.0.0.1:9080"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "tcp://127.0.0.1:22"),
        (b"\0\1\2", "tcp://127.0.0.1:22"),
    ],
)
async def test_one_port_has_several_protocols(
    sent: bytes, upstream: str, autojump_clock: trio.testing.MockClock
) -> None:
    assert (await reached("one_port.py", sent))[0] == [upstream]


async def test_a_silent_client_of_one_port_is_greeted_after_half_a_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    upstreams, seconds = await reached("one_port.py", b"")
    assert upstreams == ["tcp://127.0.0.1:22"]
    assert seconds == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("port", "service", "upstream"),
    [(20_001, "alice", 9_000), (20_002, "bob", 9_001), (20_003, "bob", 9_001), (20_004, None, None)],
)
async def test_a_customer_has_a_port_that_leads_to_its_server(
    port: int, service: str | None, upstream: int | None, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_edge(runpy.run_path(str(EXAMPLES / "port_forwarding.py"))["edge"]) as world:
        listener = f"tcp://127.0.0.1:{port}"
        if service is None:
            with pytest.raises(te.ConfigurationError, match="its service is disabled"):
                await world.connect(listener=listener)
            return
        client = await world.connect(listener=listener)
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        assert client.session.service.name == service
        assert [str(address) for address in world.upstream.asked] == [f"tcp://127.0.0.1:{upstream}"]
