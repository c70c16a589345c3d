"""An edge whose stderr takes nothing goes on serving, and stops when it is told to."""

import fcntl
import json
import os
import pty
import signal
import socket
import termios
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from tests.support.command_line import COMMAND, PATIENCE
from trioedge.telemetry.line_writer import MAX_QUEUED_BYTES

LETTERS = 30_000
SESSIONS = 2 * MAX_QUEUED_BYTES // LETTERS
"""As many lines of so many letters fill every pipe, and the queue behind it."""

EDGE = f"""\
import structlog
import trioedge as te

@te.decision
def shout(session):
    structlog.get_logger().warning("x" * {LETTERS}, session=session.id)
    return te.CONTINUE if session.id == 1 else te.Reject(te.Reason.POLICY)

edge = te.Edge("unix://{{path}}", [shout], te.Forward("tcp://127.0.0.1:{{upstream}}"))
"""


def full_pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    return writer, reader


def full_socket() -> tuple[int, int]:
    writer, reader = socket.socketpair()
    return writer.detach(), reader.detach()


def stopped_terminal() -> tuple[int, int]:
    master, slave = pty.openpty()
    termios.tcflow(slave, termios.TCOOFF)  # as Ctrl-S does
    return slave, master


def full_disk() -> tuple[int, int]:
    return os.open("/dev/full", os.O_WRONLY), os.open(os.devnull, os.O_RDONLY)


STDERRS = [full_pipe, full_socket, stopped_terminal, full_disk]


@contextmanager
def opened(make: Callable[[], tuple[int, int]]) -> Iterator[tuple[int, int]]:
    both = make()
    try:
        yield both
    finally:
        for fd in both:
            os.close(fd)


@asynccontextmanager
async def edge_with_a_session(
    folder: Path, stderr: int | None, *options: str
) -> AsyncIterator[tuple[trio.Process, trio.SocketStream, trio.SocketStream, Path]]:
    """Run an edge with this stderr, or with none, and give it, a client, the upstream of the client and its socket."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    path = folder / "edge.sock"
    (folder / "x.py").write_text(EDGE.format(path=path, upstream=listener.socket.getsockname()[1]))
    command = [*COMMAND, "run", str(folder / "x.py"), *options]
    if stderr is None:
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(command, stderr=stderr)
        try:
            async with listener:
                client = await connected(path)
                async with client, await listener.accept() as upstream:
                    yield process, client, upstream, path
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def connected(path: Path) -> trio.SocketStream:
    while True:
        try:
            return await trio.open_unix_socket(str(path))
        except OSError:  # it does not listen yet
            await trio.sleep(0.02)


async def fill(path: Path) -> None:
    """Have the edge write more lines than stderr and the queue take; it refuses these sessions."""
    for _ in range(SESSIONS):
        async with await connected(path):
            pass


async def exchange(client: trio.SocketStream, upstream: trio.SocketStream) -> None:
    await client.send_all(b"ping")
    assert await upstream.receive_some() == b"ping"
    await upstream.send_all(b"pong")
    assert await client.receive_some() == b"pong"


@pytest.mark.parametrize("make", STDERRS)
async def test_sessions_go_on_and_a_signal_drains_while_stderr_takes_nothing(
    make: Callable[[], tuple[int, int]], tmp_path: Path
) -> None:
    with opened(make) as (stderr, _):
        async with edge_with_a_session(tmp_path, stderr) as (process, client, upstream, path):
            await fill(path)
            await exchange(client, upstream)
            process.send_signal(signal.SIGTERM)
            await exchange(client, upstream)
            await client.aclose()
            await upstream.aclose()
            assert await process.wait() == 0


def count_of(line: str, form: str) -> int:
    return int(json.loads(line)["count"] if form == "json" else line.rpartition("count=")[2])


@pytest.mark.parametrize("form", ["console", "json"])
async def test_a_reader_that_comes_back_is_told_how_many_lines_were_dropped(form: str, tmp_path: Path) -> None:
    with opened(full_pipe) as (stderr, reader):
        async with edge_with_a_session(tmp_path, stderr, "--log-format", form) as (process, client, upstream, path):
            await fill(path)
            await exchange(client, upstream)
            pipe = trio.lowlevel.FdStream(os.dup(reader))
            said, dropped, written = b"", 0, 0
            with trio.fail_after(30):
                while dropped + written < SESSIONS + 1:
                    said += await pipe.receive_some()
                    lines = said.decode().split("\n")[:-1]
                    written = sum("x" * LETTERS in line for line in lines)
                    dropped = sum(count_of(line, form) for line in lines if "log lines dropped" in line)
            await pipe.aclose()
            assert (dropped > 0, dropped + written) == (True, SESSIONS + 1)
            process.send_signal(signal.SIGTERM)
            await client.aclose()
            await upstream.aclose()
            assert await process.wait() == 0


async def test_an_edge_without_a_stderr_serves_and_gives_its_number_to_no_socket(tmp_path: Path) -> None:
    async with edge_with_a_session(tmp_path, None) as (process, client, upstream, _):
        await exchange(client, upstream)
        assert (await trio.Path(f"/proc/{process.pid}/fd/2").readlink()).name == "null"
        process.send_signal(signal.SIGTERM)
        await client.aclose()
        await upstream.aclose()
        assert await process.wait() == 0
