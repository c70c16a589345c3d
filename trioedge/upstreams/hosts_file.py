"""The system's own table of names, `/etc/hosts`: looked at before any server is asked (hosts(5))."""

from pathlib import Path
from typing import Final

import trio

from ..addresses.address import packed_ip

HOSTS_FILE: Final = Path("/etc/hosts")

_MISSING: Final = (0, 0, 0)


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Give every name's addresses, in the order of the file; a line that begins with no address says nothing."""
    found: dict[str, list[str]] = {}
    packed: dict[str, bytes | None] = {}  # long files repeat one address
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
    """Names and addresses of a hosts file, as of the last :meth:`refresh`; before the first there are none.

    As long as the file, which is the machine's administrator's own.
    """

    def __init__(self, path: Path = HOSTS_FILE) -> None:
        self._path = path
        self._version = _MISSING
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._thread = trio.CapacityLimiter(1)  # of our own: who else uses threads must not hold up names

    def addresses(self, host: str) -> tuple[str, ...]:
        """Give a name's addresses in the order of the file; none if it is not there. Letter case does not matter."""
        return self._addresses.get(_canonical(host), ())

    async def refresh(self) -> None:
        """Read the file anew if its time, size or inode changed; in a thread, for some are very long.

        A file that is missing or cannot be read names nobody. After a cancel the former names still stand.
        """
        version = _version(self._path)
        if version != self._version:
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
    except OSError:
        return {}
