"""Tables for the tests, and the log of their edges."""

import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from structlog.testing import capture_logs

GERMAN, FRENCH, AMERICAN = "81.2.0.1", "81.3.0.1", "2a01::1"
"""Clients of three countries by the table of :func:`countries`."""


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


@pytest.fixture
def table(tmp_path: Path) -> WriteTable:
    def write(
        records: Mapping[str, Any], name: str = "countries.mmdb", kind: str = "Test-Country", version: int = 6
    ) -> Path:
        path = tmp_path / name
        write_table(path, records, kind, version)
        return path

    return write


@pytest.fixture
def countries(table: WriteTable) -> Path:
    """A table in which GERMAN, FRENCH and AMERICAN are what they say."""
    return table(
        {
            "81.2.0.0/16": {"country": {"iso_code": "DE"}},
            "81.3.0.0/16": {"country": {"iso_code": "FR"}},
            "2a01::/32": {"country": {"iso_code": "US"}},
        }
    )


@pytest.fixture
def networks(table: WriteTable) -> Path:
    """A table of AS numbers: GERMAN is in AS3320, FRENCH in none, AMERICAN in AS64500."""
    return table(
        {"81.2.0.0/16": {"autonomous_system_number": 3320}, "2a01::/32": {"autonomous_system_number": 64500}},
        "networks.mmdb",
        "Test-ASN",
    )


@pytest.fixture
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    """The lines of the edges' log."""
    with capture_logs() as lines:
        yield lines


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
