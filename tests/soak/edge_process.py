"""An edge, HAProxy or nginx as a process of the campaign: started, asked, and ended by its own id."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import trio

from tests.bench.balancers import haproxy, nginx
from tests.bench.processes import ROOT, free_port, python
from tests.bench.programs import Command

Sock = trio.socket.SocketType
Connect = Callable[[], Awaitable[Sock]]

ENDING_SECONDS = 5.0
PEERS: Mapping[str, Command] = {"haproxy": haproxy(), "nginx": nginx(server="proxy_half_close on;")}
"""The other proxies; nginx loses an answer to a half-closed client unless it is told not to."""


class Edge:
    """A running edge. Its log is the file `log`."""

    def __init__(self, mode: str, process: trio.Process, log: Path) -> None:
        self.mode, self.process, self.log = mode, process, log
        self.addresses: Mapping[str, str] = {}
        self._answers = b""
        self._one_at_a_time = trio.Lock()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    async def ask(self, do: str, seconds: float = 15.0) -> Mapping[str, Any]:
        """Send one command and give its answer."""
        assert self.process.stdin is not None
        async with self._one_at_a_time:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):  # no answer is left behind
                with contextlib.suppress(trio.BrokenResourceError):  # it has ended; the answer says how
                    await self.process.stdin.send_all(json.dumps({"do": do}).encode() + b"\n")
                return await self.answer()
        raise trio.TooSlowError(f"the edge does not answer within {seconds:g} s")

    async def answer(self) -> Mapping[str, Any]:
        """Read a line of JSON."""
        assert self.process.stdout is not None
        while b"\n" not in self._answers:
            data = await self.process.stdout.receive_some()
            if not data:
                raise RuntimeError(f"the edge ended with {await self.process.wait()}: {last_line(self.log)}")
            self._answers += data
        line, _, self._answers = self._answers.partition(b"\n")
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def connect(self, service: str, source: str | None = None) -> Connect:
        """What connects to a service's listener, from a source where one is given."""
        return connector(self.addresses[service], source)

    def faults(self) -> list[str]:
        """Lines of the log that say an error."""
        if not self.log.exists():
            return []
        return [line for line in self.log.read_text(errors="replace").splitlines() if _is_fault(line)]

    async def settled(self, seconds: float = 5.0) -> Mapping[str, Any]:
        """The state once no session lives, or after some seconds."""
        deadline = trio.current_time() + seconds
        while True:
            state = await self.ask("state")
            if not state["live"] or trio.current_time() > deadline:
                return state
            await trio.sleep(0.03)


def _is_fault(line: str) -> bool:
    if not line.startswith("{"):
        return bool(line.strip())
    return bool(json.loads(line).get("level") in ("error", "critical"))


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"


def connector(address: str, source: str | None = None) -> Connect:
    """What connects to `tcp://…` or `unix://…`."""

    async def connect() -> Sock:
        if address.startswith("unix://"):
            sock = trio.socket.socket(socket.AF_UNIX)
            target: Any = address.removeprefix("unix://")
        else:
            sock = trio.socket.socket()
            host, _, port = address.removeprefix("tcp://").rpartition(":")
            target = host, int(port)
        try:
            if source is not None:
                await sock.bind((source, 0))
            await sock.connect(target)
        except BaseException:
            sock.close()
            raise
        return sock

    return connect


def _log(folder: Path, mode: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{mode}.log"


@asynccontextmanager
async def edge(
    mode: str, upstream: str, folder: Path, *, env: Mapping[str, str] | None = None, stderr: int | None = None
) -> AsyncIterator[Edge]:
    """Run an edge of a mode. `stderr` is a descriptor for its log instead of the file."""
    log = _log(folder, mode)
    with log.open("w") as file:
        process = await trio.lowlevel.open_process(
            python("tests.soak.edges", mode, upstream, str(folder)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file if stderr is None else stderr,
            cwd=ROOT, env={**os.environ, **(env or {})}, start_new_session=True,
        )  # fmt: skip
    try:
        running = Edge(mode, process, log)
        with trio.fail_after(30):
            running.addresses = {name: str(text) for name, text in (await running.answer()).items()}
        yield running
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


@asynccontextmanager
async def peer(command: Command, upstream: int, folder: Path) -> AsyncIterator[tuple[str, int]]:
    """Run HAProxy or nginx in front of an upstream; give its address and its process id."""
    folder = Path(mkdtemp(prefix="peer-", dir=folder))
    port = free_port()
    command_line = command(folder, port, upstream)
    with (folder / "log").open("w") as file:
        process = await trio.lowlevel.open_process(
            command_line, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=ROOT, start_new_session=True
        )
    try:
        await _listening(port, process, folder / "log")
        yield f"tcp://127.0.0.1:{port}", process.pid
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _listening(port: int, process: trio.Process, log: Path) -> None:
    with trio.move_on_after(15):
        while process.poll() is None:
            try:
                (await connector(f"tcp://127.0.0.1:{port}")()).close()
            except OSError:
                await trio.sleep(0.02)
            else:
                return
    raise RuntimeError(f"did not start: {last_line(log)}")


async def _end(process: trio.Process) -> None:
    """End a process: politely, and by force a little later."""
    if process.stdin is not None:
        await process.stdin.aclose()
    if process.poll() is None:
        process.terminate()
        with trio.move_on_after(ENDING_SECONDS):
            await process.wait()
    if process.poll() is None:
        process.kill()
        await process.wait()
    if process.stdout is not None:
        await process.stdout.aclose()
