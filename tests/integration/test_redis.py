"""A real redis-server behind an edge, real redis clients before it."""

import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.ports import until_it_listens
from tests.support.programs import output
from tests.support.tls import localhost
from tests.support.wires import connect, receive_exactly, serving


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[int]:
    """Serve a Redis of our own on loopback for the length of the block and give its port."""
    port = free_port()
    async with trio.open_nursery() as nursery:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.DEVNULL))
        await until_it_listens(port)
        yield port
        process.terminate()


@pytest.mark.peer("redis-server", "redis-cli")
@pytest.mark.parametrize("preconnect", [0, 4])
async def test_redis_cli_talks_through_an_edge(tmp_path: Path, preconnect: int) -> None:
    async with redis(tmp_path) as port:
        edge = te.Edge(
            "tcp://127.0.0.1:0",
            [te.SessionGate(rate=200, burst=32), te.SourceMatch(["127.0.0.0/8"]), te.ConcurrencyLimit(100)],
            te.Forward(f"tcp://127.0.0.1:{port}", preconnect=preconnect),
        )
        async with serving(edge) as edge_port:
            cli = ("redis-cli", "-p", str(edge_port))
            assert await output(*cli, "set", "greeting", "hello") == "OK\n"
            assert await output(*cli, "get", "greeting") == "hello\n"
            with trio.fail_after(5):
                while edge.sessions:  # the client leaves before the edge has seen its upstream leave
                    await trio.sleep(0.01)
            assert edge.statistics().ended == {te.Reason.FINISHED: 2}


@pytest.mark.peer("redis-server", "redis-cli")
async def test_redis_cli_talks_through_tls_and_through_a_route_by_its_name(tmp_path: Path) -> None:
    chain, key = localhost()
    async with redis(tmp_path) as port:
        tls = te.Edge("tcp://127.0.0.1:0", [te.Tls([(chain, key)])], te.Forward(f"tcp://127.0.0.1:{port}"))
        async with serving(tls) as tls_port:
            route = te.SniRoute({"localhost": f"tcp://127.0.0.1:{tls_port}"})
            async with serving(te.Edge("tcp://127.0.0.1:0", [route], te.Forward(allow=["loopback"]))) as routed:
                for edge_port in (tls_port, routed):
                    cli = ("redis-cli", "-h", "127.0.0.1", "-p", str(edge_port))
                    secure = ("--tls", "--sni", "localhost", "--cacert", str(chain))
                    assert await output(*cli, *secure, "ping") == "PONG\n"


@pytest.mark.peer("redis-server", "redis-benchmark")
async def test_redis_benchmark_runs_fifty_clients_through_an_edge(tmp_path: Path) -> None:
    async with redis(tmp_path) as port:
        edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(f"tcp://127.0.0.1:{port}", preconnect=8))
        async with serving(edge) as edge_port:
            said = await output(
                "redis-benchmark", "-p", str(edge_port), "-q", "-n", "20000", "-c", "50", "-P", "4", "-t", "set,get"
            )
            assert said.count("requests per second") == 2, said
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert edge.statistics().ended.get(te.Reason.FAULT, 0) == 0
            assert len(edge.sessions) == 0


@pytest.mark.peer("redis-server")
async def test_two_thousand_sessions_at_once(tmp_path: Path) -> None:
    async with redis(tmp_path) as port:
        edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(f"tcp://127.0.0.1:{port}"))
        async with serving(edge) as edge_port:
            clients = [await connect(edge_port, f"127.0.{number % 100}.1") for number in range(2000)]
            for number, client in enumerate(clients):
                await client.send_all(b"*2\r\n$4\r\nECHO\r\n$4\r\n%04d\r\n" % number)
            for number, client in enumerate(clients):
                assert await receive_exactly(client, 10) == b"$4\r\n%04d\r\n" % number
            assert len(edge.sessions) == 2000
            assert edge.evict(source="127.0.7.1") == 20
            for client in clients:
                await client.aclose()
            with trio.fail_after(10):
                while edge.sessions:
                    await trio.sleep(0.01)
