"""Programs that speak SOCKS, through an edge that serves it."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import python_socks.async_.trio as python_socks
import trio
from python_socks import ProxyError

import trioedge as te
from tests.support.programs import output
from tests.support.wires import echo, receive_all, server, serving

PAGE = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nhello\n"
BANNER = b"SSH-1.0-behind_the_edge\r\n"
"""Of a version that ssh does not speak: it says so, and ends."""


async def page(connection: trio.SocketStream) -> None:
    """Answer one request."""
    await connection.receive_some()
    await connection.send_all(PAGE)
    await connection.send_eof()
    await receive_all(connection)


def socks_edge(*stages: object, socks: te.Socks | None = None, **changes: Any) -> te.Edge:
    endpoint = te.Forward(retries=0, allow=["loopback"])
    return te.Edge("tcp://127.0.0.1:0", [socks or te.Socks(), *stages], endpoint, **changes)


@asynccontextmanager
async def users() -> AsyncIterator[tuple[te.Edge, int]]:
    """Serve an edge with one user, alice."""
    alice = te.Settings(te.Policy(), te.Credentials(te.hash_password("wonder:land")))
    edge = socks_edge(socks=te.Socks(auth="services"), control=te.MemoryControl({"alice": alice}))
    async with serving(edge) as port:
        yield edge, port


@pytest.mark.peer("curl")
@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_curl_gets_a_page_by_every_version(scheme: str, host: str) -> None:
    edge = socks_edge()
    async with server(page) as upstream, serving(edge) as port:
        proxy, url = f"{scheme}://127.0.0.1:{port}", f"http://{host}:{upstream}/"
        assert await output("curl", "--silent", "--show-error", "--ipv4", "--max-time", "5", "--proxy", proxy, url) == (
            "hello\n"
        )
    assert edge.statistics().ended == {te.Reason.FINISHED: 1}


@pytest.mark.peer("curl")
async def test_curl_logs_in_and_a_wrong_password_gets_it_nowhere() -> None:
    async with server(page) as upstream, users() as (edge, port):
        curl = ["curl", "--silent", "--max-time", "5", f"http://127.0.0.1:{upstream}/", "--proxy"]
        for _ in range(2):  # by a hash, then from memory
            assert await output(*curl, f"socks5h://alice:wonder%3Aland@127.0.0.1:{port}") == "hello\n"
        assert edge.services["alice"].down.bytes == 2 * len(PAGE)
        for login in ("alice:wrong@", "bob:wonder%3Aland@", ""):
            with pytest.raises(subprocess.CalledProcessError) as caught:
                await output(*curl, f"socks5h://{login}127.0.0.1:{port}")
            assert caught.value.returncode == 97  # CURLE_PROXY
    assert edge.statistics().refused == {te.Reason.CREDENTIALS: 3}


@pytest.mark.peer("proxychains4", "curl")
@pytest.mark.parametrize("kind", ["socks4", "socks5"])
async def test_proxychains_leads_a_program_through(kind: str, tmp_path: Path) -> None:
    async with server(page) as upstream, serving(socks_edge()) as port:
        (tmp_path / "chain.conf").write_text(f"quiet_mode\n[ProxyList]\n{kind} 127.0.0.1 {port}\n")
        url = f"http://127.0.0.1:{upstream}/"
        said = await output("proxychains4", "-f", tmp_path / "chain.conf", "curl", "--silent", "--max-time", "5", url)
    assert said == "hello\n"


@pytest.mark.peer("ssh", "nc")
@pytest.mark.parametrize("version", ["4", "5"])
async def test_ssh_reads_the_banner_of_a_server_that_speaks_first(version: str) -> None:
    async def greet(connection: trio.SocketStream) -> None:
        await connection.send_all(BANNER)
        await connection.receive_some()

    async with server(greet) as upstream, serving(socks_edge()) as port:
        done = await trio.run_process(
            ["ssh", "-v", "-F", "none", "-o", f"ProxyCommand=nc -X {version} -x 127.0.0.1:{port} %h %p",
             "-p", str(upstream), "127.0.0.1", "true"],
            capture_stderr=True, check=False,
        )  # fmt: skip
    assert b"remote software version behind_the_edge" in done.stderr


@pytest.mark.peer("git")
async def test_git_clones_through(tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "init.defaultBranch=main"]
    origin = tmp_path / "origin"
    await output(*git, "init", "--quiet", origin)
    await output(*git, "-C", origin, "commit", "--quiet", "--allow-empty", "--message", "first")
    await output(*git, "-C", origin, "update-server-info")

    async def files(connection: trio.SocketStream) -> None:
        """Serve the files of the repository, as git's plain protocol needs no more."""
        line = (await connection.receive_some()).split(b" ")[1].partition(b"?")[0].decode()
        file = origin / ".git" / line.removeprefix("/")
        found = file.is_file()
        head = b"HTTP/1.0 200 OK\r\n" if found else b"HTTP/1.0 404 Not Found\r\n"
        await connection.send_all(head + b"Connection: close\r\n\r\n" + (file.read_bytes() if found else b""))
        await connection.send_eof()
        await receive_all(connection)

    async with server(files) as upstream, serving(socks_edge()) as port:
        proxy = f"http.proxy=socks5h://127.0.0.1:{port}"
        await output(*git, "-c", proxy, "clone", "--quiet", f"http://localhost:{upstream}/", tmp_path / "clone")
    assert await output(*git, "-C", tmp_path / "clone", "log", "--format=%s") == "first\n"


async def test_httpx_gets_a_page() -> None:
    async with server(page) as upstream, users() as (_, port):
        async with httpx.AsyncClient(proxy=f"socks5h://alice:wonder%3Aland@127.0.0.1:{port}") as client:
            assert (await client.get(f"http://localhost:{upstream}/")).text == "hello\n"


@pytest.mark.parametrize("scheme", ["socks4", "socks5"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_python_socks_connects(scheme: str, host: str) -> None:
    async with server(echo) as upstream, serving(socks_edge()) as port:
        proxy = python_socks.Proxy.from_url(f"{scheme}://127.0.0.1:{port}", rdns=True)
        sock = await proxy.connect(dest_host=host, dest_port=upstream, timeout=5)
        await sock.send(b"ping")
        assert await sock.recv(4) == b"ping"
        sock.close()


@te.decision(requires=("destination",))
def not_to_port_25(session: te.Session) -> te.Verdict:
    if str(session.destination).endswith(":25"):
        return te.Reject(te.Reason.DESTINATION, "port 25")
    return te.CONTINUE


@pytest.mark.parametrize(
    ("host", "port", "code", "reason"),
    [
        ("127.0.0.1", 1, 5, te.Reason.UPSTREAM_REFUSED),
        ("192.168.0.1", 80, 2, te.Reason.UPSTREAM_FORBIDDEN),
        ("127.0.0.1", 25, 2, te.Reason.DESTINATION),
        ("nowhere.invalid", 80, 4, te.Reason.UPSTREAM_UNRESOLVED),
    ],
)
async def test_python_socks_hears_why_it_is_not_connected(host: str, port: int, code: int, reason: te.Reason) -> None:
    edge = socks_edge(not_to_port_25)
    async with serving(edge) as edge_port:
        proxy = python_socks.Proxy.from_url(f"socks5://127.0.0.1:{edge_port}", rdns=True)
        with pytest.raises(ProxyError) as caught:
            await proxy.connect(dest_host=host, dest_port=port, timeout=5)
        assert caught.value.error_code == code
        with trio.fail_after(5):
            while edge.sessions:
                await trio.sleep(0.01)
    assert {**edge.statistics().refused, **edge.statistics().ended} == {reason: 1}
