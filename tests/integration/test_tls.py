"""Tls before real programs: openssl s_client and curl."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.tls import localhost, make_certificate
from tests.support.wires import echo, edge_to, receive_all, server, serving

DOWNLOAD = bytes(range(256)) * 4_000
HEAD = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n"
VERSIONS = pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])

pytestmark = pytest.mark.peer("openssl")


async def answer(connection: trio.SocketStream) -> None:
    """Answer the first bytes with a download that ends with the connection."""
    await connection.receive_some()
    await connection.send_all(HEAD + DOWNLOAD)
    await connection.send_eof()
    await receive_all(connection)


@asynccontextmanager
async def terminating(script: Any = answer, **options: Any) -> AsyncIterator[int]:
    tls = te.Tls(options.pop("certificates", [localhost()]), **options)
    async with server(script) as upstream, serving(edge_to(upstream, tls)) as port:
        yield port


async def s_client(port: int, *options: str | Path, said: bytes = b"GET / HTTP/1.0\r\n\r\n") -> tuple[bytes, str]:
    """Give what openssl has heard, and its notes."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost",
               "-CAfile", str(localhost()[0]), "-verify_return_error", "-ign_eof", *map(str, options)]  # fmt: skip
    with trio.fail_after(10):
        done = await trio.run_process(command, stdin=said, capture_stdout=True, capture_stderr=True, check=False)
    return done.stdout, done.stderr.decode()


@VERSIONS
async def test_s_client_gets_the_whole_of_a_download_and_its_end_in_order(version: str) -> None:
    async with terminating() as port:
        for _ in range(3):
            heard, notes = await s_client(port, f"-{version}", "-quiet")
            assert heard == HEAD + DOWNLOAD
            assert "unexpected eof" not in notes
            assert "verify return:1" in notes


@VERSIONS
async def test_s_client_resumes_its_session(version: str, tmp_path: Path) -> None:
    async with terminating() as port:
        heard, _ = await s_client(port, f"-{version}", "-sess_out", tmp_path / "session")
        assert b"\nNew, TLSv1" in heard
        for _ in range(2):
            heard, _ = await s_client(port, f"-{version}", "-sess_in", tmp_path / "session")
            assert b"\nReused, TLSv1" in heard
            assert DOWNLOAD in heard


async def test_s_client_agrees_on_a_protocol_or_on_none() -> None:
    async with terminating(alpn=["http/1.1"]) as port:
        heard, _ = await s_client(port, "-alpn", "h2,http/1.1")
        assert b"ALPN protocol: http/1.1" in heard
        heard, _ = await s_client(port, "-alpn", "h2")
        assert b"No ALPN negotiated" in heard
        assert DOWNLOAD in heard


@VERSIONS
async def test_s_client_shows_its_certificate(version: str, tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path, "ann.example")
    async with terminating(client_ca=chain) as port:
        heard, _ = await s_client(port, f"-{version}", "-quiet", "-cert", chain, "-key", key)
        assert heard == HEAD + DOWNLOAD
        heard, notes = await s_client(port, f"-{version}", "-quiet")
        assert heard == b""
        assert "alert" in notes


async def test_s_client_gets_the_certificate_of_the_name_that_it_asks_for(tmp_path: Path) -> None:
    other = make_certificate(tmp_path, "*.other.example", key="rsa")
    async with terminating(certificates=[localhost(), other]) as port:
        options: list[str | Path] = ["-CAfile", other[0], "-verify_hostname", "www.other.example"]
        heard, _ = await s_client(port, "-servername", "www.other.example", *options)
        assert b"subject=O = Example, CN = *.other.example" in heard
        assert b"Verification: OK" in heard
        heard, _ = await s_client(port, "-servername", "none.example")
        assert b"subject=O = Example, CN = localhost" in heard


@pytest.mark.parametrize("letter", [b"K", b"k"])
async def test_s_client_changes_its_keys_in_the_middle(letter: bytes) -> None:
    """`K` asks for a new key of the edge, too; s_client reads both letters at the begin of a line."""
    heard = await typed(b"first\n", letter + b"\n", b"last\n", version="-tls1_3")
    assert b"KEYUPDATE" in heard
    assert b"first\n" in heard
    assert b"last\n" in heard


async def test_s_client_may_not_renegotiate() -> None:
    heard = await typed(b"first\n", b"R\n", version="-tls1_2")
    assert b"RENEGOTIATING" in heard
    assert b"first\n" in heard
    assert b"no renegotiation" in heard


async def typed(*lines: bytes, version: str) -> bytes:
    """Give what s_client shows while some lines are typed, each a moment after the other."""
    async with terminating(echo) as port:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", version]
        async with trio.open_nursery() as nursery:
            start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, check=False)  # fmt: skip
            process: trio.Process = await nursery.start(start)
            assert process.stdin is not None
            assert process.stdout is not None
            for line in lines:
                await trio.sleep(0.2)
                await process.stdin.send_all(line)
            await trio.sleep(0.2)
            with trio.move_on_after(0.2):
                await process.stdin.aclose()
                await process.wait()
            process.terminate()
            with trio.fail_after(5):
                return b"".join([data async for data in process.stdout])


CURL = ["curl", "--silent", "--show-error", "--max-time", "5", "--output", "-"]


@pytest.mark.peer("curl")
@pytest.mark.parametrize("options", [[], ["--tls-max", "1.2"], ["--http1.1"]])
async def test_curl_gets_the_whole_of_each_download(options: list[str]) -> None:
    async with terminating(alpn=["http/1.1"]) as port:
        for _ in range(4):
            command = [*CURL, *options, "--cacert", str(localhost()[0]), f"https://localhost:{port}/"]
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
            assert (done.stdout, done.stderr, done.returncode) == (DOWNLOAD, b"", 0)


@pytest.mark.peer("curl")
async def test_curl_to_the_plain_port_of_tls_is_refused_and_told_so() -> None:
    async with terminating() as port:
        command = [*CURL, f"http://127.0.0.1:{port}/"]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        assert done.returncode in (52, 56)
