"""Tables for the tests, and the log of their edges."""

from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tables import WriteTable, write_table


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
