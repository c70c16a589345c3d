"""A file descriptor in reserve, with which a process that has no other one left still refuses its clients at once."""

import contextlib
import os
from collections.abc import Iterator

from ...errors import ListenError


class Reserve:
    """One file descriptor for all listeners of an edge."""

    def __init__(self) -> None:
        """Open it.

        Raises:
            ListenError: the process has no file descriptor left.
        """
        try:
            self._fd = _open()
        except OSError as error:
            raise ListenError(f"cannot listen: {error.strerror}; raise the limit with ulimit -n") from None

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Free the descriptor for the length of the block, which waits for nothing."""
        self.close()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self._fd = _open()

    def close(self) -> None:
        """Close it; a second call does nothing."""
        fd, self._fd = self._fd, -1  # if it cannot be opened again, its number may be another file's
        with contextlib.suppress(OSError):
            os.close(fd)


def _open() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
