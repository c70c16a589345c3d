"""Edges that go out through real proxies: microsocks, Dante and tinyproxy, alone and one behind the other."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.daemons import daemon
from tests.support.ports import closed_port
from tests.support.wires import connect, receive_exactly, server, serving

DANTE = """
logoutput: {folder}/log
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks block {{ from: 0.0.0.0/0 to: 127.0.0.0/8 port = {blocked} }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
"""
TINYPROXY = """
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
BasicAuth bob hush
"""


@asynccontextmanager
async def microsocks(folder: Path, blocked: int) -> AsyncIterator[str]:
    port = closed_port()
    async with daemon("microsocks", "-i", "127.0.0.1", "-p", str(port), "-u", "ann", "-P", "secret", port=port):
        yield f"socks5://ann:secret@127.0.0.1:{port}"


@asynccontextmanager
async def dante(folder: Path, blocked: int, scheme: str = "socks5") -> AsyncIterator[str]:
    port = closed_port()
    (folder / "danted.conf").write_text(DANTE.format(folder=folder, port=port, blocked=blocked))
    async with daemon("danted", "-f", str(folder / "danted.conf"), port=port) as process:
        yield f"{scheme}://127.0.0.1:{port}"
        process.terminate()  # so that it ends its children
        await process.wait()


@asynccontextmanager
async def dante4(folder: Path, blocked: int) -> AsyncIterator[str]:
    async with dante(folder, blocked, "socks4") as url:
        yield url


@asynccontextmanager
async def tinyproxy(folder: Path, blocked: int) -> AsyncIterator[str]:
    port = closed_port()
    (folder / "tinyproxy.conf").write_text(TINYPROXY.format(port=port))
    async with daemon("tinyproxy", "-d", "-c", str(folder / "tinyproxy.conf"), port=port):
        yield f"http://bob:hush@127.0.0.1:{port}"


PROXIES = pytest.mark.parametrize(
    "kinds",
    [
        pytest.param([microsocks], marks=pytest.mark.peer("microsocks"), id="microsocks"),
        pytest.param([dante], marks=pytest.mark.peer("danted"), id="dante"),
        pytest.param([dante4], marks=pytest.mark.peer("danted"), id="dante-socks4"),
        pytest.param([tinyproxy], marks=pytest.mark.peer("tinyproxy"), id="tinyproxy"),
        pytest.param(
            [dante, tinyproxy, microsocks], marks=pytest.mark.peer("microsocks", "danted", "tinyproxy"), id="all"
        ),
    ],
)


@asynccontextmanager
async def edge_via(folder: Path, kinds: list[object], to: str, blocked: int = 1) -> AsyncIterator[tuple[te.Edge, int]]:
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(kind(folder, blocked)) for kind in kinds]  # type: ignore[operator]
        edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(to, outbound=te.Via(*urls), retries=0))
        async with serving(edge) as port:
            yield edge, port


@PROXIES
async def test_twenty_clients_talk_through_it_at_once(tmp_path: Path, kinds: list[object]) -> None:
    block = bytes(range(256)) * 1_000

    async def talk(port: int) -> None:
        async with await connect(port) as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, block)
            assert await receive_exactly(client, len(block)) == block

    async with server() as upstream, edge_via(tmp_path, kinds, f"tcp://127.0.0.1:{upstream}") as (edge, port):
        with trio.fail_after(20):
            async with trio.open_nursery() as clients:
                for _ in range(20):
                    clients.start_soon(talk, port)
        with trio.fail_after(5):
            while edge.sessions:
                await trio.sleep(0.01)
        assert edge.statistics().bytes_down == 20 * len(block)


@PROXIES
async def test_a_destination_that_refuses_ends_the_session_with_a_reason_of_the_upstream(
    tmp_path: Path, kinds: list[object]
) -> None:
    async with edge_via(tmp_path, kinds, f"tcp://127.0.0.1:{closed_port()}") as (edge, port):
        async with await connect(port) as client:
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(5):
                await client.receive_some(1)
        (reason,) = edge.statistics().ended
        assert reason in (te.Reason.UPSTREAM_REFUSED, te.Reason.UPSTREAM_UNREACHABLE)


@pytest.mark.peer("danted")
async def test_a_destination_that_the_rules_of_a_proxy_forbid_is_forbidden(tmp_path: Path) -> None:
    async with server() as upstream:
        to = f"tcp://127.0.0.1:{upstream}"
        async with edge_via(tmp_path, [dante], to, blocked=upstream) as (edge, port), await connect(port) as client:
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(5):
                await client.receive_some(1)
            assert edge.statistics().ended == {te.Reason.UPSTREAM_FORBIDDEN: 1}
