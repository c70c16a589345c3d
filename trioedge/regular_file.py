"""Read a file that an operator names, without a wait for what is none: a FIFO, a terminal or an endless device."""

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a regular file. It blocks as long as the file system does.

    Args:
        path: of the file.
        max_bytes: the most bytes that it may have.

    Returns:
        Its content; of a longer file one byte more than `max_bytes`.

    Raises:
        OSError: it cannot be read; `strerror` says why.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "no path has a NUL in it")
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # without the last one a FIFO waits for a writer
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(max_bytes + 1)
    finally:
        os.close(fd)
