import gc
import os
import sys
from pathlib import Path
from typing import Any

import maxminddb
import pytest
import trioedge as te
from tables import AMERICAN, FRENCH, GERMAN, WriteTable, break_record, write_in_place

from trioedge_geoip import table as module
from trioedge_geoip.table import Table, lacks


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_a_table_is_read(countries: Path) -> None:
    read = Table(countries)
    assert (read.kind, read.has_countries, read.has_as_numbers) == ("Test-Country", True, False)
    assert [read.record(address) for address in (GERMAN, FRENCH, AMERICAN, "9.9.9.9", "2a02::1")] == [
        {"country": {"iso_code": "DE"}}, {"country": {"iso_code": "FR"}}, {"country": {"iso_code": "US"}}, None, None,
    ]  # fmt: skip


def test_a_table_of_both_has_both(table: WriteTable) -> None:
    both = Table(table({"9.0.0.0/8": {"country_code": "DE", "asn": "AS3320"}}))
    assert (both.has_countries, both.has_as_numbers) == (True, True)


def test_a_table_of_ipv4_has_no_record_of_ipv6(table: WriteTable) -> None:
    read = Table(table({"9.0.0.0/8": {"country_code": "DE"}}, version=4))
    assert read.record("9.9.9.9") == {"country_code": "DE"}
    assert read.record(AMERICAN) is None
    assert read.broken == 0


@pytest.mark.parametrize("data", [b"", b"half of a table"])
def test_a_file_that_is_written_over_while_its_table_is_used_changes_nothing(countries: Path, data: bytes) -> None:
    read = Table(countries)
    write_in_place(countries, data)
    assert read.record(GERMAN) == {"country": {"iso_code": "DE"}}
    assert read.record(AMERICAN) == {"country": {"iso_code": "US"}}


def test_no_descriptor_stays_open(countries: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"x" * 10_000)
    before = descriptors()
    read = Table(countries)
    for path in (broken, tmp_path, tmp_path / "missing"):
        with pytest.raises((te.ConfigurationError, OSError)):
            Table(path)
    assert descriptors() == before
    assert read.record(GERMAN)


@pytest.mark.parametrize("kept", [0, 1, 10, 100, -1, -30])
def test_a_part_of_a_file_is_refused(countries: Path, kept: int) -> None:
    whole = countries.read_bytes()
    countries.write_bytes(whole[:kept])
    with pytest.raises(te.ConfigurationError, match="is no MaxMind DB file or not a whole one: download it again"):
        Table(countries)


def test_a_record_that_cannot_be_read_is_counted_and_gives_none(
    countries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_record(countries)
    monkeypatch.setattr(module, "SAMPLE", 1)  # the record of GERMAN
    read = Table(countries)
    assert [read.record(address) for address in (GERMAN, FRENCH)] == [{"country": {"iso_code": "DE"}}, None]
    assert read.broken == 1


def test_a_table_with_neither_fact_is_refused(table: WriteTable) -> None:
    path = table({"9.0.0.0/8": {"is_anonymous": True}}, kind="Test-Anonymous-IP")
    with pytest.raises(te.ConfigurationError) as raised:
        Table(path)
    assert str(raised.value) == (
        f"{path} (Test-Anonymous-IP) has neither countries nor AS numbers: give a table such as GeoLite2-Country"
    )


def test_an_empty_table_is_refused(table: WriteTable) -> None:
    with pytest.raises(te.ConfigurationError, match="has neither countries nor AS numbers"):
        Table(table({}))


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Table(tmp_path / "missing")


def test_a_folder_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(te.ConfigurationError, match="is no file of at most 1,024 MiB: write its path"):
            Table(path)


def test_a_file_that_is_too_large_is_refused(countries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", countries.stat().st_size - 1)
    with pytest.raises(te.ConfigurationError, match="is no file of at most"):
        Table(countries)


def test_a_file_that_changes_while_it_is_copied_is_refused(countries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = os.sendfile

    def copy_and_write(*arguments: Any) -> int:
        os.utime(countries, (0, 0))
        return copy(*arguments)

    monkeypatch.setattr(os, "sendfile", copy_and_write)
    with pytest.raises(te.ConfigurationError, match="changes while it is read"):
        Table(countries)


def test_maxminddb_without_its_extension_is_refused(countries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(maxminddb, "extension")
    monkeypatch.setitem(sys.modules, "maxminddb.extension", None)
    with pytest.raises(te.ConfigurationError, match="maxminddb has no C extension here"):
        Table(countries)


@pytest.mark.parametrize(("built_at", "day"), [(0, "1970-01-01"), (1_530_576_000, "2018-07-03"), (2**64 - 1, "")])
def test_a_table_says_when_it_was_made(countries: Path, built_at: int, day: str) -> None:
    table = Table(countries)
    table.built_at = built_at
    assert table.built == day


def test_a_text_that_is_no_utf_8_is_counted_as_broken(countries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    countries.write_bytes(countries.read_bytes().replace(b"\x42FR", b"\x42\xff\xff"))
    monkeypatch.setattr(module, "SAMPLE", 1)
    read = Table(countries)
    assert (read.record(FRENCH), read.broken) == (None, 1)
    monkeypatch.undo()
    with pytest.raises(te.ConfigurationError, match="is no MaxMind DB file"):
        Table(countries)


@pytest.mark.parametrize(
    ("countries_asked", "as_numbers_asked", "missing"),
    [(True, False, ""), (False, True, "AS numbers"), (True, True, "AS numbers"), (False, False, "")],
)
def test_a_table_of_countries_lacks_as_numbers(
    countries: Path, countries_asked: bool, as_numbers_asked: bool, missing: str
) -> None:
    assert lacks([Table(countries)], countries=countries_asked, as_numbers=as_numbers_asked) == missing


def test_two_tables_lack_nothing(countries: Path, networks: Path) -> None:
    tables = [Table(countries), Table(networks)]
    assert lacks(tables, countries=True, as_numbers=True) == ""
    assert lacks(tables[1:], countries=True, as_numbers=True) == "countries"
