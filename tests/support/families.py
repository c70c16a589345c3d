"""Programs with several workers, as real processes."""

import json
import os
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import trio

from tests.support.command_line import Running, running

WHO = """\
import os
import trioedge as te

async def who(session):
    \"\"\"Say which process has the session, and echo from then on.\"\"\"
    await session.stream.send_all(f"{os.getpid()}\\n".encode())
    async for data in session.stream:
        await session.stream.send_all(data)
    return te.Completed(te.Reason.FINISHED)

edge = te.Edge("tcp://127.0.0.1:0", [], who, drain_seconds=60)
"""
"""An edge whose every session begins with the id of its worker's process."""


def write(text: str, path: str = "x.py") -> None:
    """Write a file in the present folder."""
    Path(path).write_text(text)


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and that no parent has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Client:
    """A connection to an edge."""

    def __init__(self, stream: trio.SocketStream, pid: int) -> None:
        self.stream, self.pid = stream, pid

    async def lives(self) -> bool:
        """Whether the session still echoes."""
        try:
            await self.stream.send_all(b"ping")
            return bool(await self.stream.receive_some(4) == b"ping")
        except trio.BrokenResourceError:
            return False


class Family:
    """A parent that serves, and its children."""

    def __init__(self, command: Running, port: int = 0) -> None:
        self.command, self.port = command, port
        self.clients: list[Client] = []

    def children(self) -> list[int]:
        """The processes of the parent that live, the oldest first."""
        pid = self.command.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def until(self, count: int) -> list[int]:
        """Wait until the parent has so many children."""
        while len(found := self.children()) != count:
            await trio.sleep(0.02)
        return found

    async def connect(self, source: str = "127.0.0.1") -> Client:
        """Connect from an address, and learn which process has the session."""
        sock = trio.socket.socket()
        await sock.bind((source, 0))
        await sock.connect(("127.0.0.1", self.port))
        stream = trio.SocketStream(sock)
        line = b""
        while not line.endswith(b"\n"):
            chunk = await stream.receive_some(1)
            if not chunk:
                await stream.aclose()
                raise AssertionError("the session has ended")
            line += chunk
        self.clients.append(Client(stream, int(line)))
        return self.clients[-1]

    async def clients_of_both(self, besides: Collection[int] = ()) -> tuple[Client, Client]:
        """Give clients of two workers, besides those of some processes: old workers accept until they are told."""
        clients: dict[int, Client] = {}
        for number in cycle(range(1, 200)):
            client = await self.connect(f"127.0.0.{number}")
            if client.pid in besides or clients.setdefault(client.pid, client) is not client:
                await client.stream.aclose()
            if len(clients) == 2:
                break
        first, second = clients.values()
        return first, second

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a child."""
        assert pid in self.children()
        os.kill(pid, number)


@asynccontextmanager
async def family(program: str, *options: str, workers: int = 2) -> AsyncIterator[Family]:
    """Run a program with several workers, in the present folder, until the block ends; wait until all listen."""
    write(program)
    async with running("run", "x.py", "--workers", str(workers), "--log-format", "json", *options) as command:
        event = json.loads(await command.says('"listening"', times=workers))
        found = Family(command, int(event["addresses"][0].rpartition(":")[2]))
        try:
            yield found
        finally:
            for client in found.clients:
                client.stream.socket.close()


async def restart(edge: Family, times: int = 1) -> None:
    """Restart, and wait until the new version serves."""
    edge.command.signal(signal.SIGUSR2)
    await edge.command.says('"restarted"', times=times)
