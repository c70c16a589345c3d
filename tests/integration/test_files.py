"""curl moves a large file both ways, openssl speaks TLS through an edge, and a client that half-closes is answered."""

import hashlib
import os
import ssl
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.wires import connect, edge_to, receive_all, server, serving

SIZE = 200_000_000
"""Bytes of the file; the checksum is compared."""


async def http_head(connection: trio.SocketStream) -> tuple[bytes, bytes]:
    """Read a request's head and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await connection.receive_some()
        assert more
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


@pytest.mark.peer("curl")
@pytest.mark.parametrize("preconnect", [0, 2])
async def test_curl_downloads_and_uploads_two_hundred_megabytes_unharmed(tmp_path: Path, preconnect: int) -> None:
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()
    sent = 0
    path = tmp_path / "file"
    with path.open("wb") as file:
        while sent < SIZE:
            piece = block[: SIZE - sent]
            file.write(piece)
            digest.update(piece)
            sent += len(piece)
    received: list[str] = []

    async def web(connection: trio.SocketStream) -> None:
        head, rest = await http_head(connection)
        if head.startswith(b"GET"):
            await connection.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            with path.open("rb") as source:
                while piece := source.read(1 << 18):
                    await connection.send_all(piece)
        else:
            if b"100-continue" in head:
                await connection.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            check, left = hashlib.sha256(rest), SIZE - len(rest)
            while left:
                piece = await connection.receive_some(1 << 18)
                check.update(piece)
                left -= len(piece)
            received.append(check.hexdigest())
            await connection.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with server(web) as port:
        edge = edge_to(port, te.SourceMatch(["127.0.0.1"]), preconnect=preconnect)
        async with serving(edge) as edge_port:
            url = f"http://127.0.0.1:{edge_port}/file"
            there = tmp_path / "there"
            await trio.run_process(["curl", "-sSf", "-o", there, url])
            with there.open("rb") as copy:
                assert hashlib.file_digest(copy, "sha256").hexdigest() == digest.hexdigest()
            await trio.run_process(["curl", "-sSf", "-T", path, url])
            assert received == [digest.hexdigest()]
            counts = edge.statistics()
            assert counts.bytes_down > SIZE
            assert counts.bytes_up > SIZE


@pytest.mark.peer("openssl")
async def test_openssl_shakes_hands_through_an_edge(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    await trio.run_process(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=edge.test", "-keyout", key, "-out", certificate],
        capture_stderr=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def shout(connection: trio.SocketStream) -> None:
        secure = trio.SSLStream(connection, context, server_side=True, https_compatible=True)
        data = await secure.receive_some()
        await secure.send_all(data.upper())
        await secure.aclose()

    async with server(shout) as port, serving(edge_to(port)) as edge_port:
        client = await trio.run_process(
            ["openssl", "s_client", "-quiet", "-verify_quiet", "-connect", f"127.0.0.1:{edge_port}",
             "-servername", "edge.test", "-CAfile", certificate],
            stdin=b"hello through the edge\n", capture_stdout=True, capture_stderr=True, check=False,
        )  # fmt: skip
        assert client.stdout == b"HELLO THROUGH THE EDGE\n", client.stderr


@pytest.mark.peer("haproxy")
async def test_haproxy_behind_and_an_edge_before_it(tmp_path: Path) -> None:
    async def answer_at_the_end(connection: trio.SocketStream) -> None:
        await connection.send_all(b"%d bytes" % len(await receive_all(connection)))
        await connection.send_eof()

    async with server(answer_at_the_end) as port, trio.open_nursery() as nursery:
        path = tmp_path / "haproxy.sock"
        config = tmp_path / "haproxy.cfg"
        config.write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
            f"listen l\n bind unix@{path}\n server s 127.0.0.1:{port}\n"
        )
        process = await nursery.start(
            partial(trio.run_process, ["haproxy", "-db", "-f", config], stderr=subprocess.DEVNULL, check=False)
        )
        with trio.fail_after(10):
            while not path.exists():
                await trio.sleep(0.02)
        edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(f"unix://{path}"))
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"x" * 300_000)
            await client.send_eof()
            assert await receive_all(client) == b"300000 bytes"
        process.terminate()


async def test_a_client_that_half_closes_still_gets_its_answer() -> None:
    async def count(connection: trio.SocketStream) -> None:
        await connection.send_all(b"%d bytes" % len(await receive_all(connection)))

    async with server(count) as port, serving(edge_to(port)) as edge_port, await connect(edge_port) as client:
        await client.send_all(b"x" * 1_000_000)
        await client.send_eof()
        assert await receive_all(client) == b"1000000 bytes"
