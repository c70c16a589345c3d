import ipaddress
from typing import Any

import pytest
import trioedge as te
from hypothesis import given
from hypothesis import strategies as st

from trioedge_geoip import places as module
from trioedge_geoip.place import Place
from trioedge_geoip.places import Places

UNKNOWN = te.Reject(te.Reason.SOURCE, "unknown")
LOCAL = te.Reject(te.Reason.SOURCE, "local")


class Looked:
    """A table, and the addresses that were looked up in it."""

    def __init__(self, records: dict[str, Any]) -> None:
        self.records = records
        self.asked: list[str] = []

    def __call__(self, address: str) -> Any:
        self.asked.append(address)
        return self.records.get(address)


def looking_in(*tables: Looked) -> Places:
    places = Places(UNKNOWN, LOCAL)
    places.look_in(tables)
    return places


def of(places: Places, address: str) -> Place:
    return places.of(b"" if address == "unix" else ipaddress.ip_address(address).packed, address)


def test_an_address_that_was_looked_up_is_remembered() -> None:
    table = Looked({"9.9.9.9": {"country": {"iso_code": "DE"}}})
    places = looking_in(table)
    assert [of(places, "9.9.9.9").country for _ in range(3)] == ["DE"] * 3
    assert table.asked == ["9.9.9.9"]


def test_an_address_without_a_record_is_remembered_too() -> None:
    table = Looked({})
    places = looking_in(table)
    assert [of(places, "9.9.9.9") for _ in range(3)] == [Place(otherwise=UNKNOWN)] * 3
    assert len(table.asked) == 1


def test_another_table_is_asked_anew() -> None:
    places = looking_in(Looked({"9.9.9.9": {"country_code": "DE"}}))
    assert of(places, "9.9.9.9").country == "DE"
    places.look_in([Looked({"9.9.9.9": {"country_code": "FR"}})])
    assert of(places, "9.9.9.9").country == "FR"


def test_two_tables_complete_each_other_and_the_first_one_counts() -> None:
    first = Looked({"9.9.9.9": {"country_code": "DE"}, "8.8.8.8": {"asn": 0, "country_code": "US"}})
    second = Looked({"9.9.9.9": {"asn": 3320, "country_code": "FR"}, "8.8.8.8": {"asn": 7}})
    places = looking_in(first, second)
    assert of(places, "9.9.9.9") == Place("DE", 3320, otherwise=UNKNOWN)
    assert of(places, "8.8.8.8") == Place("US", 0, otherwise=UNKNOWN)


@pytest.mark.parametrize(
    "address",
    ["unix", "127.0.0.1", "127.9.9.9", "::1", "10.0.0.1", "172.31.0.1", "192.168.1.1", "100.127.0.1", "fd00::1",
     "169.254.0.1", "fe80::1"],
)  # fmt: skip
def test_an_internal_address_in_no_table_is_local(address: str) -> None:
    assert of(looking_in(Looked({})), address) == Place(is_local=True, otherwise=LOCAL)


@pytest.mark.parametrize("address", ["9.9.9.9", "172.32.0.1", "100.128.0.1", "2a01::1"])
def test_any_other_address_in_no_table_is_unknown(address: str) -> None:
    assert of(looking_in(Looked({})), address) == Place(otherwise=UNKNOWN)


def test_an_internal_address_that_a_table_has_is_what_the_table_says() -> None:
    places = looking_in(Looked({"10.0.0.1": {"country_code": "XX"}}))
    assert of(places, "10.0.0.1") == Place("XX", otherwise=UNKNOWN)


def test_a_local_socket_is_looked_up_in_no_table() -> None:
    table = Looked({})
    of(looking_in(table), "unix")
    assert table.asked == []


@given(st.lists(st.integers(0, 15), max_size=200))
def test_the_memory_is_bounded_and_never_wrong(numbers: list[int]) -> None:
    addresses = [f"9.9.9.{number}" for number in numbers]
    records = {address: {"asn": index} for index, address in enumerate(dict.fromkeys(addresses))}
    places = looking_in(Looked(records))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HALF", 3)
        for address in addresses:
            assert of(places, address).as_number == records[address]["asn"]
            assert len(places) <= 6


def test_an_address_that_comes_again_and_again_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HALF", 3)
    table = Looked({})
    places = looking_in(table)
    for number in range(50):
        of(places, "9.9.9.9")
        of(places, f"8.8.8.{number}")
    assert table.asked.count("9.9.9.9") == 1
    assert len(table.asked) == 51
