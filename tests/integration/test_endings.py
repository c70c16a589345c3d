"""How sessions end, beside HAProxy: the same driver on both, and the same bytes and endings at both ends."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.haproxy import haproxy
from tests.support.plain_ends import LEFT, SAID, Ending, first, hear, leave
from tests.support.ports import closed_port
from tests.support.wires import connect, serving

Script = Callable[[socket.socket], Awaitable[Ending]]


async def say_and_reset(sock: socket.socket, *, pause: float = 0.05) -> Ending:
    await first(sock)
    sock.send(SAID)
    await trio.sleep(pause)
    return leave(sock)


async def say_and_close_with_bytes_unread(sock: socket.socket) -> Ending:
    sock.send(SAID)
    await trio.sleep(0.05)
    sock.close()
    return LEFT


async def say_and_end_and_reset(sock: socket.socket) -> Ending:
    await first(sock)
    sock.send(SAID)
    sock.shutdown(socket.SHUT_WR)
    await trio.sleep(0.05)
    return leave(sock)


async def reset_at_once(sock: socket.socket) -> Ending:
    await first(sock)
    return leave(sock)


async def ask(then: Script, sock: socket.socket) -> Ending:
    sock.send(b"?")
    return await then(sock)


async def greet_and(then: Script, sock: socket.socket) -> Ending:
    sock.send(b"!")
    return await then(sock)


DOWNLOADS: dict[str, Script] = {
    "resets": say_and_reset,
    "resets at once": partial(say_and_reset, pause=0),
    "closes with bytes unread": say_and_close_with_bytes_unread,
    "ends and resets": say_and_end_and_reset,
    "resets without a byte": reset_at_once,
}
UPLOADS: dict[str, Script] = {key: DOWNLOADS[key] for key in ("resets", "ends and resets", "resets without a byte")}


@asynccontextmanager
async def haproxy_to(folder: Path, upstream: int) -> AsyncIterator[int]:
    """Run a HAProxy in front of a port, and give its own."""
    port = closed_port()
    sections = f"listen all\n mode tcp\n bind 127.0.0.1:{port}\n server one 127.0.0.1:{upstream}\n"
    async with haproxy(folder, sections):
        await trio.sleep(0.3)  # no connection of a test's own may reach the upstream
        yield port


@asynccontextmanager
async def trioedge(paced: bool, upstream: int) -> AsyncIterator[int]:
    stages = [te.Pacing("4 MB/s", "4 MB/s")] if paced else []
    async with serving(te.Edge("tcp://127.0.0.1:0", stages, te.Forward(f"tcp://127.0.0.1:{upstream}"))) as port:
        yield port


async def play(port: int, listener: socket.socket, client: Script, server: Script) -> tuple[Ending, Ending]:
    """Have both scripts talk through a proxy; gives what the client saw, and what the server saw."""
    seen: list[Ending] = [(0, ""), (0, "")]

    async def run(script: Script, sock: socket.socket, place: int) -> None:
        sock.setblocking(False)
        with sock:
            seen[place] = await script(sock)

    near = (await connect(port)).socket
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, client, socket.socket(fileno=near.detach()), 0)
            while True:
                try:
                    far, _ = listener.accept()
                    break
                except BlockingIOError:
                    await trio.sleep(0.002)
            nursery.start_soon(run, server, far, 1)
    return seen[0], seen[1]


@pytest.mark.peer("haproxy")
@pytest.mark.parametrize("paced", [False, True])
async def test_both_ends_see_of_trioedge_what_they_see_of_haproxy(tmp_path: Path, paced: bool) -> None:
    """Takes some seconds, because each session is slow on purpose."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        upstream = listener.getsockname()[1]
        plays: list[tuple[str, Script, Script]] = [
            *((f"server {name}", partial(ask, partial(hear, slow=True)), script) for name, script in DOWNLOADS.items()),
            *((f"client {name}", script, partial(greet_and, partial(hear, slow=True)))
              for name, script in UPLOADS.items()),
        ]  # fmt: skip
        seen: dict[str, list[tuple[Ending, Ending]]] = {}
        async with haproxy_to(tmp_path, upstream) as theirs, trioedge(paced, upstream) as ours:
            for name, client, server in plays:
                seen[name] = [await play(port, listener, client, server) for port in (theirs, ours)]
    assert {name: pair for name, pair in seen.items() if pair[0] != pair[1]} == {}
    left = (0, "left")
    assert seen["server resets"][0] == ((60_000, "end"), left)
    assert seen["client resets"][0] == (left, (60_000, "reset"))
