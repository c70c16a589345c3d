"""The PROXY protocol with the programs that speak it: HAProxy in front of an edge and behind it, and curl."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

import trioedge as te
from tests.support.edges import is_over
from tests.support.haproxy import haproxy
from tests.support.middlewares import wrap
from tests.support.ports import closed_port
from tests.support.wires import connect, echo, receive_all, receive_exactly, server, serving

LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
SEND: Final = {1: "send-proxy", 2: "send-proxy-v2 proxy-v2-options crc32c,unique-id"}


def at(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def edge_behind(*stages: object) -> AsyncIterator[tuple[te.Edge, int]]:
    """Serve an edge of which HAProxy is the trusted balancer, in front of an echo."""
    stage = te.ProxyProtocol(["127.0.0.0/8", "::1"])
    async with server(echo) as upstream:
        edge = te.Edge("tcp://127.0.0.1:0", [stage, *stages], te.Forward(f"tcp://127.0.0.1:{upstream}"))
        async with serving(edge) as port:
            yield edge, port


@pytest.mark.peer("haproxy")
@pytest.mark.parametrize("stages", [[], [wrap]], ids=["without a task", "wrapped"])
@pytest.mark.parametrize("family", LOOPBACK)
@pytest.mark.parametrize("version", SEND)
async def test_a_client_of_haproxy_is_the_source(
    version: int, family: int, stages: list[object], tmp_path: Path
) -> None:
    host, front = LOOPBACK[family], closed_port()
    async with edge_behind(*stages) as (edge, port):
        sections = f"listen all\n mode tcp\n bind {at(host, front)}\n server edge 127.0.0.1:{port} {SEND[version]}\n"
        async with haproxy(tmp_path, sections, (host, front)):
            async with await trio.open_tcp_stream(host, front) as client:
                await client.send_all(b"hello")
                assert await receive_exactly(client, 5) == b"hello"
                port_of_client = client.socket.getsockname()[1]
                (session,) = [each for each in edge.sessions if each.source_port == port_of_client]
                assert (session.source, session.peer) == (host, "127.0.0.1")
                header = session.state[te.ProxyHeader]
                assert (header.version, header.destination, header.destination_port) == (version, host, front)
                assert dict(header.tlvs) == ({} if version == 1 else {5: b""})
                await client.send_eof()
                assert await receive_all(client) == b""
    assert session.bytes_up == 5


@pytest.mark.peer("haproxy")
@pytest.mark.parametrize("version", SEND)
async def test_a_health_check_of_haproxy_is_a_session_of_its_own(version: int, tmp_path: Path) -> None:
    front = closed_port()
    seen: list[te.Session] = []

    @te.decision
    def look(session: te.Session) -> te.Verdict:
        seen.append(session)
        return te.CONTINUE

    async with edge_behind(look) as (_, port):
        server_line = f"server edge 127.0.0.1:{port} {SEND[version]} check inter 50"
        async with haproxy(tmp_path, f"listen all\n mode tcp\n bind 127.0.0.1:{front}\n {server_line}\n"):
            with trio.fail_after(10):
                while len(seen) < 2:
                    await trio.sleep(0.01)
    headers = [session.state[te.ProxyHeader] for session in seen]
    assert {header.local for header in headers} == {version == 2}  # version 1 has the addresses of the check itself
    assert {session.source for session in seen} == {"127.0.0.1"}


@pytest.mark.peer("curl")
async def test_curl_names_itself(tmp_path: Path) -> None:
    async def answer(connection: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await connection.receive_some()
        assert request.startswith(b"GET / HTTP/1.1\r\n")
        await connection.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

    seen: list[te.ProxyHeader] = []

    @te.decision
    def look(session: te.Session) -> te.Verdict:
        seen.append(session.state[te.ProxyHeader])
        return te.CONTINUE

    async with server(answer) as upstream:
        stages = [te.ProxyProtocol(["127.0.0.1"]), look]
        async with serving(te.Edge("tcp://127.0.0.1:0", stages, te.Forward(f"tcp://127.0.0.1:{upstream}"))) as port:
            curl = ["curl", "--silent", "--max-time", "10", f"http://127.0.0.1:{port}/"]
            done = await trio.run_process([*curl, "--haproxy-protocol"], capture_stdout=True)
            refused = await trio.run_process(curl, capture_stdout=True, check=False)
    assert done.stdout == b"hello"
    assert (refused.returncode, refused.stdout) != (0, b"hello")
    (header,) = seen
    assert (header.version, header.source, header.destination, header.destination_port) == (
        1, "127.0.0.1", "127.0.0.1", port
    )  # fmt: skip


SAYS: Final = '"%[src] %[src_port] %[dst] %[dst_port]"'


@asynccontextmanager
async def haproxy_that_says_its_client(folder: Path, *more: str) -> AsyncIterator[int]:
    """Run a HAProxy that takes the protocol, and answers each request with the ends that it has read."""
    port = closed_port()
    sections = "\n".join(
        [f"frontend says\n mode http\n bind 127.0.0.1:{port} accept-proxy",
         f" http-request return status 200 content-type text/plain lf-string {SAYS}", *more, ""]
    )  # fmt: skip
    async with haproxy(folder, sections, ("127.0.0.1", port)):
        yield port


async def ask(client: trio.SocketStream) -> str:
    await client.send_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
    answer = await receive_all(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    return answer.rpartition(b"\r\n\r\n")[2].decode()


@pytest.mark.peer("haproxy")
@pytest.mark.parametrize("way", ["at once", "preconnected", "wrapped"])
@pytest.mark.parametrize("family", LOOPBACK)
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_haproxy_behind_an_edge_is_told_its_clients(version: str, family: int, way: str, tmp_path: Path) -> None:
    async with haproxy_that_says_its_client(tmp_path) as upstream:
        out = te.Direct(proxy_protocol=version)  # type: ignore[arg-type]
        forward = te.Forward(f"tcp://127.0.0.1:{upstream}", outbound=out, preconnect=4 if way == "preconnected" else 0)
        host = LOOPBACK[family]
        edge = te.Edge(f"tcp://{at(host, 0)}", [wrap] if way == "wrapped" else [], forward)
        async with serving(edge) as port:
            await trio.sleep(0.1 if way == "preconnected" else 0)
            for _ in range(3):
                async with await trio.open_tcp_stream(host, port) as client:
                    name = client.socket.getsockname()
                    assert await ask(client) == f"{host} {name[1]} {host} {port}"


@pytest.mark.peer("haproxy")
async def test_an_edge_that_listens_everywhere_tells_the_address_that_the_client_has_met(tmp_path: Path) -> None:
    async with haproxy_that_says_its_client(tmp_path) as upstream:
        forward = te.Forward(f"tcp://127.0.0.1:{upstream}", outbound=te.Direct(proxy_protocol="v2"))
        async with serving(te.Edge("tcp://[::]:0", [], forward)) as port:
            async with await connect(port, "127.0.0.9") as client:
                assert await ask(client) == f"127.0.0.9 {client.socket.getsockname()[1]} 127.0.0.1 {port}"


@pytest.mark.peer("haproxy")
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_between_two_haproxies_an_edge_passes_the_first_ones_client_on(version: str, tmp_path: Path) -> None:
    front, middle = closed_port(), closed_port()
    first = f"listen all\n mode tcp\n bind 127.0.0.1:{front}\n server edge 127.0.0.1:{middle} send-proxy"
    async with haproxy_that_says_its_client(tmp_path, first) as upstream:
        forward = te.Forward(f"tcp://127.0.0.1:{upstream}", outbound=te.Direct(proxy_protocol=version))  # type: ignore[arg-type]
        stages = [te.ProxyProtocol(["127.0.0.1"]), te.SourceMatch(accept=["127.0.0.9"])]
        async with serving(te.Edge(f"tcp://127.0.0.1:{middle}", stages, forward)):
            async with await connect(front, "127.0.0.9") as client:
                assert await ask(client) == f"127.0.0.9 {client.socket.getsockname()[1]} 127.0.0.1 {front}"
            async with await connect(front, "127.0.0.8") as client:
                assert await is_over(client)
