"""Programs that use an HTTP proxy, through an edge that serves CONNECT."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import python_socks.async_.trio as python_socks
import trio

import trioedge as te
from tests.support.programs import output
from tests.support.wires import connect, echo, receive_all, server, serving

BANNER = b"SSH-1.0-behind_the_edge\r\n"
"""Of a version that ssh does not speak: it says so, and ends."""

PAGE = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nhello\n"


async def page(connection: trio.SocketStream) -> None:
    """Answer one request."""
    await connection.receive_some()
    await connection.send_all(PAGE)
    await connection.send_eof()
    await receive_all(connection)


def connect_edge(*stages: object, auth: Any = None, **changes: Any) -> te.Edge:
    endpoint = te.Forward(retries=0, allow=["loopback"])
    return te.Edge("tcp://127.0.0.1:0", [te.HttpConnect(auth), *stages], endpoint, **changes)


@asynccontextmanager
async def users() -> AsyncIterator[tuple[te.Edge, int]]:
    """Serve an edge with one user, alice."""
    alice = te.Settings(te.Policy(), te.Credentials(te.hash_password("wonder:land")))
    edge = connect_edge(auth="services", control=te.MemoryControl({"alice": alice}))
    async with serving(edge) as port:
        yield edge, port


CURL = ["curl", "--silent", "--show-error", "--max-time", "5"]


@pytest.mark.peer("curl")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("options", [[], ["--proxy1.0"]])
async def test_curl_tunnels_to_a_page(host: str, options: list[str]) -> None:
    edge = connect_edge()
    async with server(page) as upstream, serving(edge) as port:
        proxy = [*(options or ["--proxy"]), f"http://127.0.0.1:{port}"]
        assert await output(*CURL, "--proxytunnel", *proxy, f"http://{host}:{upstream}/") == "hello\n"
    assert edge.statistics().ended == {te.Reason.FINISHED: 1}


@pytest.mark.peer("curl")
async def test_curl_logs_in_at_once_or_when_it_is_asked() -> None:
    async with server(page) as upstream, users() as (edge, port):
        curl = [*CURL, "--proxytunnel", "--proxy", f"http://127.0.0.1:{port}", f"http://127.0.0.1:{upstream}/"]
        assert await output(*curl, "--proxy-user", "alice:wonder:land") == "hello\n"
        assert await output(*curl, "--proxy-user", "alice:wonder:land", "--proxy-anyauth") == "hello\n"
        assert edge.services["alice"].down.bytes == 2 * len(PAGE)
        for login in (["--proxy-user", "alice:wrong"], ["--proxy-user", "bob:wonder:land"], []):
            with pytest.raises(subprocess.CalledProcessError) as caught:
                await output(*curl, *login)
            assert b"407" in caught.value.stderr
    assert edge.statistics().refused == {te.Reason.CREDENTIALS: 4}


@pytest.mark.peer("curl")
async def test_curl_shows_the_sentence_for_a_request_that_is_no_tunnel() -> None:
    edge = connect_edge()
    async with serving(edge) as port:
        said = await output(*CURL, "--proxy", f"http://127.0.0.1:{port}", "--include", "http://example.com/")
        assert said.startswith("HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\n")
        assert said.endswith("\r\n\r\nThis proxy makes tunnels alone, by CONNECT: it does not forward requests for "
                             "http:// addresses.\n")  # fmt: skip
        assert (await output(*CURL, "--include", f"http://127.0.0.1:{port}/")).startswith("HTTP/1.1 405 ")
    assert edge.statistics().refused == {te.Reason.PROTOCOL: 2}


@pytest.mark.peer("ssh", "nc")
async def test_ssh_reads_the_banner_of_a_server_that_speaks_first() -> None:
    async def greet(connection: trio.SocketStream) -> None:
        await connection.send_all(BANNER)
        await connection.receive_some()

    async with server(greet) as upstream, serving(connect_edge()) as port:
        done = await trio.run_process(
            ["ssh", "-v", "-F", "none", "-o", f"ProxyCommand=nc -X connect -x 127.0.0.1:{port} %h %p",
             "-p", str(upstream), "127.0.0.1", "true"],
            capture_stderr=True, check=False,
        )  # fmt: skip
    assert b"remote software version behind_the_edge" in done.stderr


@pytest.mark.peer("proxychains4", "curl")
async def test_proxychains_leads_a_program_through(tmp_path: Path) -> None:
    async with server(page) as upstream, serving(connect_edge()) as port:
        (tmp_path / "chain.conf").write_text(f"quiet_mode\n[ProxyList]\nhttp 127.0.0.1 {port}\n")
        said = await output("proxychains4", "-f", tmp_path / "chain.conf", *CURL, f"http://127.0.0.1:{upstream}/")
    assert said == "hello\n"


async def test_httpx_reads_why_it_is_not_connected() -> None:
    async with serving(connect_edge()) as port, httpx.AsyncClient(proxy=f"http://127.0.0.1:{port}") as client:
        with pytest.raises(httpx.ProxyError, match="502 Bad Gateway"):
            await client.get("https://127.0.0.1:1/")
        with pytest.raises(httpx.ProxyError, match="403 Forbidden"):
            await client.get("https://192.168.0.1/")


async def test_python_socks_connects() -> None:
    async with server(echo) as upstream, users() as (_, port):
        proxy = python_socks.Proxy.from_url(f"http://alice:wonder%3Aland@127.0.0.1:{port}")
        sock = await proxy.connect(dest_host="localhost", dest_port=upstream, timeout=5)
        await sock.send(b"ping")
        assert await sock.recv(4) == b"ping"
        sock.close()


async def test_a_refusal_is_delivered_whole_to_a_client_that_has_sent_more() -> None:
    edge = connect_edge()
    async with serving(edge) as port:
        for _ in range(20):
            client = await connect(port)
            await client.send_all(b"POST http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n" + bytes(100_000))
            with trio.fail_after(5):
                answer = await receive_all(client)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert b"Content-Length: %d" % len(body) in head
            assert body.endswith(b"addresses.\n")
            await client.aclose()
