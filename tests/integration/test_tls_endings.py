"""How sessions of TLS clients end, beside HAProxy: the same bytes and endings at both ends."""

import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.plain_ends import LEFT, SAID, Ending, first, hear, leave
from tests.support.ports import closed_port
from tests.support.tls import BOTH, TlsPeer, client_context, localhost
from tests.support.wires import connect, serving

ClientScript = Callable[[TlsPeer], Awaitable[Ending]]
ServerScript = Callable[[socket.socket], Awaitable[Ending]]


async def hear_slowly(peer: TlsPeer) -> Ending:
    heard, how = await peer.read_to_end(4_096, 0.001)
    assert heard == SAID[: len(heard)]
    return len(heard), how


# The server's scripts, each behind the first byte of the client.


async def say_and_end(sock: socket.socket) -> Ending:
    await first(sock)
    sock.send(SAID)
    sock.shutdown(socket.SHUT_WR)
    return await hear(sock)


async def say_and_reset(sock: socket.socket) -> Ending:
    await first(sock)
    sock.send(SAID)
    await trio.sleep(0.05)
    return leave(sock)


async def reset_at_once(sock: socket.socket) -> Ending:
    await first(sock)
    return leave(sock)


async def hear_all_and_answer(sock: socket.socket) -> Ending:
    await first(sock)
    heard = await hear(sock)
    sock.send(SAID)
    sock.close()
    return heard


async def hear_all(sock: socket.socket) -> Ending:
    await first(sock)
    return await hear(sock)


# The client's scripts.


async def ask_and_hear(peer: TlsPeer) -> Ending:
    peer.send(b"?")
    heard = await hear_slowly(peer)
    peer.say_end()
    return heard


async def upload_and_hear(peer: TlsPeer) -> Ending:
    """Half-close: the answer comes behind the end of the upload."""
    peer.send(b"?")
    await peer.send_all(SAID)
    peer.say_end()
    return await hear_slowly(peer)


async def hear_and_upload(peer: TlsPeer) -> Ending:
    """Half-close: the upload goes on behind the end of the download."""
    peer.send(b"?")
    heard = await hear_slowly(peer)
    await peer.send_all(SAID)
    peer.say_end()
    return heard


async def upload_and_close(peer: TlsPeer) -> Ending:
    peer.send(b"?")
    await peer.send_all(SAID)
    peer.say_end()
    await trio.sleep(0.05)
    peer.read_now()
    peer.sock.close()
    return LEFT


async def upload_and_reset(peer: TlsPeer) -> Ending:
    peer.send(b"?")
    await peer.send_all(SAID)
    await trio.sleep(0.05)
    return leave(peer.sock)


async def upload_and_cut(peer: TlsPeer) -> Ending:
    """End the connection without close_notify."""
    peer.send(b"?")
    await peer.send_all(SAID)
    await trio.sleep(0.05)
    peer.read_now()  # a close with a ticket unread would be a reset
    peer.sock.close()
    return LEFT


PLAYS: dict[str, tuple[ClientScript, ServerScript]] = {
    "server ends": (ask_and_hear, say_and_end),
    "server ends, client uploads": (hear_and_upload, say_and_end),
    "server resets": (ask_and_hear, say_and_reset),
    "server resets at once": (ask_and_hear, reset_at_once),
    "client ends": (upload_and_hear, hear_all_and_answer),
    "client ends and leaves": (upload_and_close, hear_all),
    "client resets": (upload_and_reset, hear_all),
    "client cuts": (upload_and_cut, hear_all),
}


@asynccontextmanager
async def haproxy(folder: Path, upstream: int) -> AsyncIterator[int]:
    """Run a HAProxy that terminates TLS in front of a port, and give its own."""
    port = closed_port()
    (folder / "both.pem").write_text("".join(path.read_text() for path in localhost()))
    (folder / "haproxy.cfg").write_text(
        "global\n maxconn 100\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
        f"listen all\n bind 127.0.0.1:{port} ssl crt {folder}/both.pem\n server one 127.0.0.1:{upstream}\n"
    )
    async with trio.open_nursery() as nursery:
        command = ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
        process = await nursery.start(
            partial(trio.run_process, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        )
        await trio.sleep(0.5)
        yield port
        process.terminate()


@asynccontextmanager
async def trioedge(paced: bool, upstream: int) -> AsyncIterator[int]:
    stages: list[object] = [te.Pacing("4 MB/s", "4 MB/s")] if paced else []
    endpoint = te.Forward(f"tcp://127.0.0.1:{upstream}")
    async with serving(te.Edge("tcp://127.0.0.1:0", [te.Tls([localhost()]), *stages], endpoint)) as port:
        yield port


async def play(
    port: int, listener: socket.socket, version: str, client: ClientScript, server: ServerScript
) -> tuple[Ending, Ending]:
    """Have both scripts talk through a proxy; gives what the client saw, and what the server saw."""
    seen: list[Ending] = [LEFT, LEFT]
    near = socket.socket(fileno=(await connect(port)).socket.detach())
    near.setblocking(False)
    peer = TlsPeer(near, client_context(version))

    async def run_client() -> None:
        with near:
            seen[0] = await client(peer)

    async def run_server() -> None:
        while True:
            try:
                far, _ = listener.accept()
                break
            except BlockingIOError:
                await trio.sleep(0.002)
        far.setblocking(False)
        with far:
            seen[1] = await server(far)

    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_server)
            await peer.shake()
            nursery.start_soon(run_client)
    return seen[0], seen[1]


@pytest.mark.peer("haproxy", "openssl")
@BOTH
@pytest.mark.parametrize("paced", [False, True])
async def test_both_ends_see_of_trioedge_what_they_see_of_haproxy(tmp_path: Path, version: str, paced: bool) -> None:
    seen: dict[str, list[tuple[Ending, Ending]]] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        upstream = listener.getsockname()[1]
        async with haproxy(tmp_path, upstream) as theirs, trioedge(paced, upstream) as ours:
            for name, scripts in PLAYS.items():
                seen[name] = [await play(port, listener, version, *scripts) for port in (theirs, ours)]
    cut = seen.pop("client cuts")  # HAProxy takes a cut for an end; for us it may have taken data (RFC 8446 6.1)
    assert cut == [(LEFT, (60_000, "end")), (LEFT, (60_000, "reset"))]
    assert {name: pair for name, pair in seen.items() if pair[0] != pair[1]} == {}
    assert seen["client ends"][0] == ((60_000, "end"), (60_000, "end"))
