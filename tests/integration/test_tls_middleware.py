"""TLS as a middleware of a user's own, with `trio.SSLStream`: no byte is lost, although it has no half-close."""

import socket
import ssl
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.programs import need
from tests.support.wires import edge_to, receive_all, server, serving

DOWNLOAD = bytes(range(256)) * 4_000
HEAD = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("openssl")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def terminate(folder: Path) -> object:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")

    @te.middleware
    async def tls(session: te.Session, call_next: te.Handler) -> te.Outcome:
        session.stream = trio.SSLStream(session.stream, context, server_side=True)
        with trio.move_on_after(5):
            await session.stream.do_handshake()
            return await call_next(session)
        return te.Completed(te.Reason.DEADLINE)

    return tls


async def tls_client(port: int, folder: Path) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    return trio.SSLStream(stream, context, server_hostname="localhost")


async def answer(connection: trio.SocketStream) -> None:
    """Answer the first bytes with a download that ends with the connection."""
    await connection.receive_some()
    await connection.send_all(HEAD + DOWNLOAD)
    await connection.send_eof()
    await receive_all(connection)


async def answer_at_the_end(connection: trio.SocketStream) -> None:
    """Answer the whole of an upload."""
    upload = await receive_all(connection)
    await connection.send_all(b"%d bytes, " % len(upload) + DOWNLOAD)
    await connection.send_eof()


async def test_a_download_ends_with_the_words_of_tls_behind_its_last_byte(certificate: Path) -> None:
    async with server(answer) as upstream, serving(edge_to(upstream, terminate(certificate))) as port:
        for _ in range(6):
            with trio.fail_after(5):
                client = await tls_client(port, certificate)
                await client.send_all(b"GET / HTTP/1.0\r\n\r\n")
                assert await receive_all(client) == HEAD + DOWNLOAD  # without close_notify this raises
                await client.aclose()


async def test_an_upload_under_way_is_carried_to_its_end_behind_the_end_of_the_download(certificate: Path) -> None:
    uploads: list[bytes] = []

    async def answer_early(connection: trio.SocketStream) -> None:
        first = await connection.receive_some()
        await connection.send_all(DOWNLOAD)
        await connection.send_eof()
        uploads.append(first + await receive_all(connection))

    async with server(answer_early) as upstream, serving(edge_to(upstream, terminate(certificate))) as port:
        with trio.fail_after(5):
            client = await tls_client(port, certificate)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(client.send_all, DOWNLOAD * 2))
                assert await receive_all(client) == DOWNLOAD
            await client.aclose()
            while not uploads:
                await trio.sleep(0.001)
    assert uploads == [DOWNLOAD * 2]


def half_close(port: int, folder: Path) -> int:
    """Upload over TLS, end that direction alone, as TLS 1.3 permits, and count the bytes that come back."""
    context = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        tls.write(b"upload")
        with suppress(ssl.SSLWantReadError):
            tls.unwrap()  # sends close_notify
        sock.sendall(outgoing.read())
        return sum(map(len, iter(partial(sock.recv, 65536), b"")))


async def test_the_end_of_an_upload_reaches_the_upstream_and_its_answer_is_carried(certificate: Path) -> None:
    async with server(answer_at_the_end) as upstream, serving(edge_to(upstream, terminate(certificate))) as port:
        assert await trio.to_thread.run_sync(half_close, port, certificate) > len(DOWNLOAD)


CURL = ["curl", "--silent", "--show-error", "--max-time", "5", "--output", "-"]


@pytest.mark.peer("curl")
async def test_curl_gets_the_whole_of_each_download(certificate: Path) -> None:
    async with server(answer) as upstream, serving(edge_to(upstream, terminate(certificate))) as port:
        for _ in range(6):
            url = f"https://localhost:{port}/"
            command = [*CURL, "--cacert", str(certificate / "certificate.pem"), url]
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
            assert (done.stdout, done.stderr, done.returncode) == (DOWNLOAD, b"", 0)


async def test_openssl_gets_the_whole_of_each_download(certificate: Path) -> None:
    async with server(answer) as upstream, serving(edge_to(upstream, terminate(certificate))) as port:
        for _ in range(3):
            command = ["openssl", "s_client", "-connect", f"localhost:{port}", "-quiet", "-ign_eof"]
            done: Any = await trio.run_process(
                command, stdin=b"GET / HTTP/1.0\r\n\r\n", capture_stdout=True, capture_stderr=True, check=False
            )
            assert done.stdout == HEAD + DOWNLOAD
            assert b"unexpected eof" not in done.stderr
