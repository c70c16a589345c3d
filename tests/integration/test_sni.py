"""TLS routed by server name between real programs: openssl and curl before the edge, openssl behind it."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.ports import closed_port, until_it_listens
from tests.support.wires import connect, server, serving

HOSTS = ("a.example", "x.b.example")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a key and a certificate of its own for each host, such as ``a.example.pem``."""
    folder = tmp_path_factory.mktemp("certificates")
    for host in HOSTS:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
             "-keyout", str(folder / f"{host}.key"), "-out", str(folder / f"{host}.pem")],
            check=True, capture_output=True,
        )  # fmt: skip
    return folder


@asynccontextmanager
async def tls_server(folder: Path, host: str) -> AsyncIterator[int]:
    """Serve a page over TLS with the certificate of a host, and give the port."""
    port = closed_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www", "-quiet",
               "-cert", str(folder / f"{host}.pem"), "-key", str(folder / f"{host}.key")]  # fmt: skip
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        process = await nursery.start(run)
        await until_it_listens(port)
        yield port
        process.terminate()


@asynccontextmanager
async def routed(folder: Path, *, default: str | None = None) -> AsyncIterator[int]:
    """Serve an edge before a server of each host, and give its port."""
    async with tls_server(folder, HOSTS[0]) as first, tls_server(folder, HOSTS[1]) as second:
        routes = {"a.example": f"tcp://127.0.0.1:{first}", "*.b.example": f"tcp://127.0.0.1:{second}"}
        route = te.SniRoute(routes, default=default)
        edge = te.Edge("tcp://127.0.0.1:0", [route], te.Forward(allow=["loopback"]))
        async with serving(edge) as port:
            yield port


async def said_by(*command: str | Path, stdin: bytes = b"") -> tuple[int, str]:
    """Run a program to its end; give its exit code and all that it said."""
    with trio.fail_after(15):
        done = await trio.run_process(
            list(command), stdin=stdin, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    return done.returncode, done.stdout.decode(errors="replace")


async def openssl(port: int, *options: str) -> tuple[int, str]:
    return await said_by("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options)


async def curl(port: int, host: str, folder: Path, *options: str) -> tuple[int, str]:
    certificate = folder / f"{host if host in HOSTS else HOSTS[0]}.pem"
    return await said_by(
        "curl", "--silent", "--show-error", "--max-time", "10", "--resolve", f"{host}:{port}:127.0.0.1",
        "--cacert", certificate, *options, f"https://{host}:{port}/",
    )  # fmt: skip


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("host", HOSTS)
async def test_openssl_reaches_the_server_of_the_name_that_it_asks_for(
    certificates: Path, host: str, version: str
) -> None:
    async with routed(certificates) as port:
        _, said = await openssl(port, "-servername", host, version)
    assert f"subject=CN = {host}" in said
    assert "Verification error: self-signed certificate" in said, "the certificate is the server's own"


@pytest.mark.peer("openssl", "curl")
@pytest.mark.parametrize("options", [["--http1.1"], ["--tls-max", "1.2"], ["--no-alpn"]])
@pytest.mark.parametrize("host", HOSTS)
async def test_curl_verifies_the_server_behind_the_edge(certificates: Path, host: str, options: list[str]) -> None:
    async with routed(certificates) as port:
        code, page = await curl(port, host, certificates, *options)
    assert (code, "s_server" in page) == (0, True), page


@pytest.mark.peer("openssl", "curl")
async def test_a_client_with_another_name_is_told_so_by_tls(certificates: Path) -> None:
    async with routed(certificates) as port:
        _, said = await openssl(port, "-servername", "c.example")
        assert "unrecognized name" in said
        code, said = await curl(port, "c.example", certificates)
        assert code == 35
        assert "unrecognized name" in said


@pytest.mark.peer("openssl")
async def test_a_client_without_a_name_is_told_so_or_takes_the_default(certificates: Path) -> None:
    async with routed(certificates) as port:
        _, said = await openssl(port, "-noservername")
        assert "missing extension" in said
    async with (
        tls_server(certificates, HOSTS[0]) as other,
        routed(certificates, default=f"tcp://127.0.0.1:{other}") as port,
    ):
        _, said = await openssl(port, "-noservername")
        assert "subject=CN = a.example" in said


@pytest.mark.peer("openssl")
async def test_a_hello_in_two_records_is_routed(certificates: Path) -> None:
    offered = ",".join(letter * 200 for letter in "abc")  # more than one record of 512 bytes
    async with routed(certificates) as port:
        _, said = await openssl(port, "-servername", "a.example", "-max_send_frag", "512", "-alpn", offered)
    assert "subject=CN = a.example" in said


@pytest.mark.peer("openssl")
async def test_the_server_name_is_the_service_and_a_strange_one_is_told_so(certificates: Path) -> None:
    async with tls_server(certificates, HOSTS[0]) as upstream:
        control = te.MemoryControl({"a.example": te.Policy(outbound=f"tcp://127.0.0.1:{upstream}")})
        endpoint = te.Forward(allow=["loopback"])
        edge = te.Edge("tcp://127.0.0.1:0", [te.Identify.by_sni()], endpoint, control=control)
        async with serving(edge) as port:
            assert "subject=CN = a.example" in (await openssl(port, "-servername", "a.example"))[1]
            assert "unrecognized name" in (await openssl(port, "-servername", "c.example"))[1]


@pytest.mark.peer("openssl", "curl")
async def test_one_port_has_https_and_http_and_a_server_that_speaks_first(certificates: Path) -> None:
    async def greet(connection: trio.SocketStream) -> None:
        await connection.send_all(b"220 hello\r\n")

    async def answer(connection: trio.SocketStream) -> None:
        await connection.receive_some()
        await connection.send_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nplain")

    async with tls_server(certificates, HOSTS[0]) as tls, server(answer) as http, server(greet) as smtp:
        detect = te.Detect(
            {"tls": te.SniRoute({"a.example": f"tcp://127.0.0.1:{tls}"}), "http": f"tcp://127.0.0.1:{http}"},
            default=f"tcp://127.0.0.1:{smtp}",
            seconds=0.1,
        )
        edge = te.Edge("tcp://127.0.0.1:0", [detect], te.Forward(allow=["loopback"]))
        async with serving(edge) as port:
            assert (await curl(port, "a.example", certificates))[0] == 0
            assert await said_by("curl", "--silent", f"http://127.0.0.1:{port}/") == (0, "plain")
            async with await connect(port) as client:
                with trio.fail_after(5):
                    assert await client.receive_some() == b"220 hello\r\n"
