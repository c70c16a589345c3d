"""One MaxMind DB file, as a copy in memory.

The C extension of maxminddb maps a file into memory and reads it there. A file that is made shorter while it is mapped
kills the process with SIGBUS, and one that is written in place gives records of two files. So the file is copied, by
the kernel, and the copy is mapped: 1 ms for each MB of it.
"""

import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

import trioedge as te

from .place import as_number_of, country_of

MAX_BYTES: Final = 1 << 30
"""Of a file. The largest that MaxMind sells has a third of it."""

SAMPLE: Final = 256
"""Records that are read to learn whether a table has countries, and whether it has AS numbers."""

CHUNK: Final = 1 << 24


class Table:
    """A file that was read whole and is in order.

    Attributes:
        kind: what its maker calls it, such as ``GeoLite2-Country``.
        built_at: when it was made, in seconds of Unix time.
        has_countries: whether its first records have countries.
        has_as_numbers: whether they have AS numbers.
        broken: records that could not be read so far.
    """

    def __init__(self, path: Path) -> None:
        """Copy and open a file; it blocks as long as the file system does.

        Raises:
            OSError: the file is missing, or the system did not read it.
            ConfigurationError: it is no table, or not a whole one, or changes while it is read; or maxminddb has no C
                extension.
        """
        try:
            from maxminddb import InvalidDatabaseError, extension  # takes 20 ms, so it is imported where an edge serves
        except ImportError:
            raise te.ConfigurationError(
                "maxminddb has no C extension here, and without it a look-up takes twenty times as long: install a "
                "wheel of it, or libmaxminddb before you build it"
            ) from None
        self._unreadable = (ValueError, InvalidDatabaseError)
        copy = _copied(path)
        try:
            self._reader = extension.Reader(f"/proc/self/fd/{copy}")
            records = [record for _, record in islice(self._reader, SAMPLE)]
        except self._unreadable:
            raise te.ConfigurationError(f"{path} is no MaxMind DB file or not a whole one: download it again") from None
        finally:
            os.close(copy)
        about = self._reader.metadata()
        self.kind = about.database_type
        self.built_at = about.build_epoch
        self._is_ipv4 = about.ip_version == 4
        self.has_countries = any(country_of(each) for each in records)
        self.has_as_numbers = any(as_number_of(each) is not None for each in records)
        self.broken = 0
        if not self.has_countries and not self.has_as_numbers:
            raise te.ConfigurationError(
                f"{path} ({self.kind}) has neither countries nor AS numbers: give a table such as GeoLite2-Country"
            )

    @property
    def built(self) -> str:
        """The day on which it was made, such as ``2026-11-30``; empty if that cannot be a day."""
        try:
            return datetime.fromtimestamp(self.built_at, UTC).date().isoformat()
        except (ValueError, OverflowError, OSError):
            return ""

    def record(self, address: str) -> object:
        """Give the record of an address; None if there is none, or none that can be read."""
        try:
            return self._reader.get(address)
        except self._unreadable:
            if not (self._is_ipv4 and ":" in address):
                self.broken += 1
            return None


def lacks(tables: Iterable[Table], *, countries: bool, as_numbers: bool) -> str:
    """Name what rules ask for and none of the tables has; empty if nothing is missing."""
    there = tuple(tables)
    if countries and not any(table.has_countries for table in there):
        return "countries"
    if as_numbers and not any(table.has_as_numbers for table in there):
        return "AS numbers"
    return ""


def _copied(path: Path) -> int:
    """Copy a file into memory, and return the descriptor of the copy."""
    copy = os.memfd_create(path.name[:200])
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # which does not wait for a pipe's writer
        try:
            before = os.fstat(file)
            if not stat.S_ISREG(before.st_mode) or before.st_size > MAX_BYTES:
                raise te.ConfigurationError(f"{path} is no file of at most {MAX_BYTES >> 20:,} MiB: write its path")
            while os.sendfile(copy, file, None, CHUNK):  # None: from where the last one ended
                pass
            after = os.fstat(file)
        finally:
            os.close(file)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise te.ConfigurationError(f"{path} changes while it is read")
    except BaseException:
        os.close(copy)
        raise
    return copy
