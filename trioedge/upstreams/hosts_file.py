"""The hosts file, `/etc/hosts`: addresses of names that need no query (hosts(5))."""

from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from ..addresses.address import packed_ip

HOSTS_FILE: Final = Path("/etc/hosts")

_MISSING: Final = (0, 0, 0)


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Give the addresses of every name in the order of the file; lines that begin with no address are ignored."""
    found: dict[str, list[str]] = {}
    packed: dict[str, bytes | None] = {}  # a long file repeats the same few
    for line in text.split("\n"):
        address, *names = line.partition("#")[0].split() or [""]
        if address not in packed:
            packed[address] = packed_ip(address)
        if packed[address] is None:
            continue
        for name in names:
            addresses = found.setdefault(_canonical(name), [])
            if address not in addresses:
                addresses.append(address)
    return {name: tuple(addresses) for name, addresses in found.items()}


class HostsFile:
    """The names of a hosts file, as of the last :meth:`refresh`. Unbounded, as the file of the administrator is."""

    def __init__(self, path: Path = HOSTS_FILE) -> None:
        """Start without names; nothing is read yet."""
        self._path = path
        self._version = _MISSING
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._thread = trio.CapacityLimiter(1)  # its own, so that other users of threads do not delay names

    def addresses(self, host: str) -> tuple[str, ...]:
        """Give the addresses of a name in the order of the file, none if it has none. Letter case does not matter."""
        return self._addresses.get(_canonical(host), ())

    async def refresh(self) -> None:
        """Read the file again if its time, size or inode changed; in a thread, because a hosts file can be very long.

        A file that is missing has no names. While it cannot be read, and while the system has no thread left, the
        former names are kept. A cancel takes effect before the read, and the former names are kept, or after it.
        """
        version = _version(self._path)
        if version != self._version:
            with suppress(OSError, RuntimeError):  # no descriptor or no thread is left, for example
                self._addresses = await trio.to_thread.run_sync(_read, self._path, limiter=self._thread)
                self._version = version


def _canonical(name: str) -> str:
    return name.lower().removesuffix(".")


def _version(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return _MISSING
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        return parse_hosts(path.read_text("utf-8", errors="replace"))
    except FileNotFoundError:
        return {}
