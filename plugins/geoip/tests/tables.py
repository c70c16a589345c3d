"""Files of tables, as the tests write and break them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mmdb_writer import MMDBWriter
from netaddr import IPSet

GERMAN, FRENCH, AMERICAN = "81.2.0.1", "81.3.0.1", "2a01::1"
"""Clients of three countries by the table of `countries` of conftest.py."""


class WriteTable(Protocol):
    """Writes a table of records by prefix, and renames it to its name."""

    def __call__(
        self, records: Mapping[str, Any], name: str = "countries.mmdb", kind: str = "Test-Country", version: int = 6
    ) -> Path: ...


def write_table(path: Path, records: Mapping[str, Any], kind: str, version: int) -> None:
    writer = MMDBWriter(version, kind, languages=["en"], ipv4_compatible=version == 6)
    for prefix, record in records.items():
        writer.insert_network(IPSet([prefix]), record)
    aside = path.with_suffix(".new")
    writer.to_db_file(str(aside))
    aside.replace(path)


def write_in_place(path: Path, data: bytes) -> None:
    """Write over a file, which stays the same inode."""
    file = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(file, data)
    os.close(file)


def break_record(path: Path) -> None:
    """Let the code of France go on beyond the end of a table."""
    whole = path.read_bytes()
    broken = whole.replace(b"\x42FR", b"\x5fFR")
    assert broken != whole
    path.write_bytes(broken)
