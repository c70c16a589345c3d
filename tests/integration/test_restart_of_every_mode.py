"""Restarts under load, with sessions of every mode: each lives on, and clients of each come meanwhile."""

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

from tests.support.command_line import running
from tests.support.families import Family, write
from tests.support.ports import free_ports
from tests.support.tls import client_context, localhost
from tests.support.wires import receive_exactly, server

STREAMS = ("plain", "task", "wrapped", "endpoint", "proxy", "socks", "tls", "local")
MODES = (*STREAMS, "asgi")

PROGRAM = """\
import trioedge as te
from tests.support.wrapped import Wrapped
from trioedge.process.run import run_edges

to = te.Forward("tcp://127.0.0.1:{upstream}")

@te.middleware
async def task(session, call_next):
    return await call_next(session)

@te.middleware
async def wrap(session, call_next):
    session.stream = Wrapped(session.stream)
    return await call_next(session)

async def echo(session):
    async for data in session.stream:
        await session.stream.send_all(data)
    return te.Completed(te.Reason.FINISHED)

async def application(scope, receive, send):
    assert scope["type"] == "http"
    message, body = {{"more_body": True}}, b""
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]}})
    await send({{"type": "http.response.body", "body": body}})

def edge(name, stages=(), endpoint=to):
    return te.Edge({where}[name], [*stages], endpoint, name=name, drain_seconds=60)

run_edges({{each.name: each for each in (
    edge("plain"),
    edge("task", [task]),
    edge("wrapped", [wrap]),
    edge("endpoint", [], echo),
    edge("proxy", [te.ProxyProtocol(trusted=["127.0.0.0/8"])]),
    edge("socks", [te.Socks()], te.Forward(allow=["loopback"])),
    edge("tls", [te.Tls([{certificate}])]),
    edge("local"),
    edge("asgi", [], te.Asgi(application)),
)}}, lambda: None, workers=2)
"""


class World:
    """An edge of each mode in one program of two workers."""

    def __init__(self, upstream: int, folder: Path) -> None:
        self.upstream = upstream
        ports = free_ports(len(MODES))
        self.where = {mode: f"tcp://127.0.0.1:{port}" for mode, port in zip(MODES, ports, strict=True)}
        self.where["local"] = f"unix://{folder}/edge.sock"
        self.ports = dict(zip(MODES, ports, strict=True))
        certificate = tuple(map(str, localhost()))
        write(PROGRAM.format(upstream=upstream, where=self.where, certificate=certificate))

    async def connect(self, mode: str, source: str) -> trio.abc.Stream:
        """Open a session of a mode, past its handshake."""
        if mode == "local":
            return await trio.open_unix_socket(self.where[mode].removeprefix("unix://"))
        stream = await trio.open_tcp_stream("127.0.0.1", self.ports[mode], local_address=source)
        if mode == "proxy":
            await stream.send_all(f"PROXY TCP4 192.0.2.{source.rpartition('.')[2]} 127.0.0.1 7 8\r\n".encode())
        elif mode == "socks":
            await stream.send_all(b"\5\1\0")
            assert await receive_exactly(stream, 2) == b"\5\0"
            await stream.send_all(b"\5\1\0\1\x7f\0\0\1" + self.upstream.to_bytes(2, "big"))
            assert (await receive_exactly(stream, 10))[1] == 0
        elif mode == "tls":
            secure = trio.SSLStream(stream, client_context(), server_hostname="localhost")
            await secure.do_handshake()
            return secure
        elif mode == "asgi":
            await stream.send_all(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 8\r\n\r\nhalf")
        return stream


async def check(mode: str, stream: trio.abc.Stream, *, last: bool = True) -> None:
    """See that bytes go both ways; a request of HTTP is under way until the last check, and then answered."""
    try:
        await exchange(mode, stream, last=last)
    except (trio.BrokenResourceError, AssertionError) as error:
        raise AssertionError(f"a session of the mode {mode!r} has ended: {error!r}") from error


async def exchange(mode: str, stream: trio.abc.Stream, *, last: bool) -> None:
    if mode != "asgi":
        await stream.send_all(b"ping")
        assert await receive_exactly(stream, 4) == b"ping"
    elif last:
        await stream.send_all(b"more")
        answer = b""
        while not answer.endswith(b"halfmore"):
            chunk = await stream.receive_some()
            assert chunk, answer
            answer += bytes(chunk)
        assert answer.startswith(b"HTTP/1.1 200")


async def clients(world: World, modes: Iterable[str], done: trio.Event, counts: dict[str, int]) -> None:
    """Open sessions of each mode, again and again; each must be served whole."""

    async def go_on(mode: str, source: str) -> None:
        while not done.is_set():
            async with await world.connect(mode, source) as stream:
                await check(mode, stream)
            counts[mode] = counts.get(mode, 0) + 1
            await trio.sleep(0.02)

    async with trio.open_nursery() as nursery:
        for mode in modes:
            for number in (1, 2):
                nursery.start_soon(go_on, mode, f"127.0.0.{number}")


RESTARTS = 3


async def test_sessions_of_every_mode_live_on_over_restarts_under_load_and_no_other_is_refused_or_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes some seconds, because each restart imports the program twice."""
    monkeypatch.chdir(tmp_path)
    async with server() as upstream:
        world = World(upstream, tmp_path)
        async with running("x.py", command=(sys.executable,), patience=120) as command:
            await command.says(" listening ", times=2 * len(MODES))
            edge, done, counts, descriptors = Family(command), trio.Event(), dict[str, int](), set[int]()
            # Which worker has a source differs from run to run; of 20 sources each of the two has one.
            sources = [(mode, number) for mode in MODES for number in range(1, 21 if mode == "plain" else 4)]
            before = [(mode, await world.connect(mode, f"127.0.0.{number}")) for mode, number in sources]
            for mode, stream in before:
                await check(mode, stream, last=False)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(clients, world, MODES, done, counts)
                for times in range(1, RESTARTS + 1):
                    command.signal(signal.SIGUSR2)
                    await command.says(" restarted ", times=times)
                    counts.clear()
                    while counts.keys() != {*MODES}:
                        await trio.sleep(0.01)
                    await edge.until(5)  # the first two workers have sessions
                    descriptors.add(len(os.listdir(f"/proc/{command.pid}/fd")))
                done.set()
            for mode, stream in before:
                await check(mode, stream)
                await trio.aclose_forcefully(stream)
            await edge.until(3)
            assert len(descriptors) == 1, "the parent leaks descriptors"
