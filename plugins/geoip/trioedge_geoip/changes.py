"""When a changed file counts: once it has stayed the same for 2 s, so that half of a write is not read.

| the file is, at a look, | action |
| --- | --- |
| another than at the last look | note the time |
| as it was when it counted last | none |
| the same for less than 2 s | none |
| the same for 2 s, or missing for as long | it counts as changed |
"""

from pathlib import Path
from typing import Final, TypeAlias

SETTLED_SECONDS: Final = 2.0

RETRY_SECONDS: Final = 30.0
"""Until a file is read again that the system did not read."""

Identity: TypeAlias = tuple[int, ...] | None
"""Device, inode, size, and the times of the last write and the last change of the inode; None if there is no file."""

_NEVER: Final = ()


def identity_of(path: Path) -> Identity:
    """Give the present identity of a file, which differs once the file was written or replaced. Takes 2 µs."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Changes:
    """The changes of one file."""

    def __init__(self, found: Identity) -> None:
        """Begin with a file that counts as it is.

        Args:
            found: its identity, taken before it was read.
        """
        self._counted = self._found = found
        self._since = 0.0

    def count(self, found: Identity, now: float) -> bool:
        """Tell whether the file counts as changed; it then does not do so again before it differs.

        Args:
            found: its present identity.
            now: seconds of any clock.
        """
        if found != self._found:
            self._found, self._since = found, now
        if found == self._counted or now - self._since < SETTLED_SECONDS:
            return False
        self._counted = found
        return True

    def retry(self, now: float) -> None:
        """Have the file as it is count as changed again, in 30 s."""
        self._counted = _NEVER
        self._since = now + RETRY_SECONDS - SETTLED_SECONDS
