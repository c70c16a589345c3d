"""What a service manager hears of a process: a socket that takes the datagrams of sd_notify(3)."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import trio


class Manager:
    """Takes datagrams at `path`, as ``NOTIFY_SOCKET`` names it."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        self._stdlib, self._sock, self.path = sock, trio.socket.from_stdlib_socket(sock), path

    async def hears(self, line: str) -> Mapping[str, str]:
        """Wait for a datagram with a line that begins so, and give its variables."""
        while True:
            text = (await self._sock.recv(4096)).decode()
            if any(each.startswith(line) for each in text.splitlines()):
                return dict(each.split("=", 1) for each in text.splitlines())

    def rest(self) -> list[str]:
        """Give what was said so far and not heard, without waiting."""
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self._stdlib.recv(4096).decode())
        return found


@contextmanager
def manager(place: Path) -> Iterator[Manager]:
    """Listen at a path in a folder."""
    path = str(place / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(path)
        yield Manager(sock, path)
