from typing import Any

import pytest

from trioedge_geoip.place import Place, as_number_of, country_of


@pytest.mark.parametrize(
    ("record", "country"),
    [
        ({"country": {"iso_code": "DE", "names": {"en": "Germany"}}}, "DE"),
        ({"country": {"iso_code": "de"}}, "DE"),
        ({"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "US"}}, "DE"),
        ({"registered_country": {"iso_code": "AU"}}, "AU"),
        ({"country": {"geoname_id": 1}, "registered_country": {"iso_code": "AU"}}, "AU"),
        ({"country_code": "DE"}, "DE"),
        ({"country": "Germany", "country_code": "DE"}, "DE"),
        ({"country": "DE", "asn": "AS3320"}, "DE"),
        ({"country": "Germany"}, None),
        ({"country": {"iso_code": 49}}, None),
        ({"country": {}}, None),
        ({"autonomous_system_number": 3320}, None),
        ({}, None),
        (None, None),
        (["DE"], None),
        ("DE", None),
    ],
)
def test_a_record_has_a_country(record: Any, country: str | None) -> None:
    assert country_of(record) == country


@pytest.mark.parametrize(
    ("record", "number"),
    [
        ({"autonomous_system_number": 3320, "autonomous_system_organization": "Example"}, 3320),
        ({"autonomous_system_number": 0}, 0),
        ({"traits": {"autonomous_system_number": 3320}}, 3320),
        ({"asn": "AS3320"}, 3320),
        ({"asn": "3320"}, 3320),
        ({"asn": 3320}, 3320),
        ({"asn": "Example"}, None),
        ({"asn": ""}, None),
        ({"asn": "AS" + "9" * 5_000}, None),
        ({"autonomous_system_number": "3320"}, None),
        ({"country": {"iso_code": "DE"}}, None),
        (None, None),
        ([3320], None),
    ],
)
def test_a_record_has_an_as_number(record: Any, number: int | None) -> None:
    assert as_number_of(record) == number


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place("DE"), "country DE"),
        (Place("DE", 3320), "AS3320 in country DE"),
        (Place(None, 3320), "AS3320 in an unknown country"),
        (Place(), "an unknown country"),
        (Place(is_local=True), "a local address"),
    ],
)
def test_a_place_is_written_for_people(place: Place, words: str) -> None:
    assert str(place) == words
