from typing import Any

import attrs
import pytest
import trioedge as te
from hypothesis import given
from hypothesis import strategies as st
from trioedge.services.stage_keys import StageKeys  # reads the tables of a services file

from trioedge_geoip.place import Place
from trioedge_geoip.rules import MAX_ENTRIES, GeoRules, compile_rules, read_as_numbers, read_countries

UNKNOWN = te.Reject(te.Reason.SOURCE, "unknown")

codes = st.sampled_from(["DE", "AT", "FR"])
numbers = st.sampled_from([0, 3320, 64500])


def judged(place: Place, **entries: tuple[Any, ...]) -> str:
    """The detail of the refusal; empty if the place is accepted."""
    rules = GeoRules(**entries).rules
    assert rules is not None
    verdict = rules.judge(place)
    return verdict.detail if isinstance(verdict, te.Reject) else ""


@pytest.mark.parametrize(
    ("place", "entries", "refusal"),
    [
        (Place("DE"), {"accept_countries": ("DE",)}, ""),
        (Place("FR"), {"accept_countries": ("DE",)}, "country FR matches no accepted entry"),
        (Place("DE", 3320), {"accept_countries": ("FR",)}, "AS3320 in country DE matches no accepted entry"),
        (Place("DE"), {"reject_countries": ("DE",)}, "country DE"),
        (Place("FR"), {"reject_countries": ("DE",)}, ""),
        (Place("DE", 3320), {"accept_countries": ("DE",), "reject_as_numbers": (3320,)}, "AS3320"),
        (Place("DE", 3320), {"reject_countries": ("DE",), "accept_as_numbers": (3320,)}, "country DE"),
        (Place("FR", 3320), {"accept_countries": ("DE",), "accept_as_numbers": (3320,)}, ""),
        (Place("FR", 0), {"accept_as_numbers": (0,)}, ""),
        (Place("FR", 0), {"reject_as_numbers": (0,)}, "AS0"),
        (Place(), {"accept_countries": ("DE",)}, "an unknown country matches no accepted entry"),
        (Place(), {"reject_countries": ("DE",)}, ""),
        (Place(is_local=True), {"accept_countries": ("DE",)}, "a local address matches no accepted entry"),
        (Place(otherwise=te.CONTINUE), {"accept_countries": ("DE",)}, ""),
        (Place(otherwise=UNKNOWN), {"reject_countries": ("DE",)}, "unknown"),
        (Place("FR", otherwise=UNKNOWN), {"reject_countries": ("DE",)}, ""),
        (Place("FR", otherwise=UNKNOWN), {"reject_as_numbers": (3320,)}, "unknown"),
        (Place("DE", otherwise=UNKNOWN), {"accept_countries": ("DE",), "reject_as_numbers": (3320,)}, ""),
        (Place(None, 3320, otherwise=UNKNOWN), {"accept_as_numbers": (3320,)}, ""),
        (Place(None, 3320, otherwise=UNKNOWN), {"reject_as_numbers": (64500,)}, ""),
    ],
)
def test_a_place_is_judged(place: Place, entries: dict[str, tuple[Any, ...]], refusal: str) -> None:
    assert judged(place, **entries) == refusal


@given(
    st.none() | codes, st.none() | numbers, st.sets(codes), st.sets(codes), st.sets(numbers), st.sets(numbers),
)  # fmt: skip
def test_a_rejected_entry_wins_and_without_accepted_ones_the_rest_is_accepted(
    country: str | None,
    number: int | None,
    accept: set[str],
    reject: set[str],
    accept_as: set[int],
    reject_as: set[int],
) -> None:
    accept, accept_as = accept - reject, accept_as - reject_as
    rules = compile_rules(tuple(accept), tuple(reject), tuple(accept_as), tuple(reject_as))
    if rules is None:
        assert {*accept, *reject, *accept_as, *reject_as} == set()
        return
    accepted = country in accept or number in accept_as
    expected = not (country in reject or number in reject_as) and (accepted or not (accept or accept_as))
    assert (rules.judge(Place(country, number)) is te.CONTINUE) == expected


def test_every_refusal_has_the_reason_source() -> None:
    rules = GeoRules(accept_countries=("DE",), reject_as_numbers=(3320,)).rules
    assert rules is not None
    for place in (Place("FR"), Place("DE", 3320)):
        verdict = rules.judge(place)
        assert isinstance(verdict, te.Reject)
        assert verdict.reason is te.Reason.SOURCE


def test_codes_are_read_in_any_case() -> None:
    assert read_countries(["de", "At"]) == ("DE", "AT")
    assert GeoRules(accept_countries=("de",)) == GeoRules(accept_countries=("DE",))


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ("DE", "'DE' is no list: write ['DE', 'AT']"),
        (None, "None is no list: write ['DE', 'AT']"),
        (["Germany"], "'Germany' is no ISO code of a country: write two letters, as in 'DE'"),
        (["A1"], "'A1' is no ISO code of a country: write two letters, as in 'DE'"),
        (["ÄÖ"], "'ÄÖ' is no ISO code of a country: write two letters, as in 'DE'"),
        ([49], "49 is no ISO code of a country: write two letters, as in 'DE'"),
        (["uk"], "'uk' is no ISO code of a country: write 'GB'"),
        (["EL"], "'EL' is no ISO code of a country: write 'GR'"),
        (["x" * 1_000], f"'{'x' * 79} is no ISO code of a country: write two letters, as in 'DE'"),
    ],
)
def test_an_entry_that_is_no_country_is_refused(entries: Any, fault: str) -> None:
    with pytest.raises(te.ConfigurationError) as raised:
        read_countries(entries)
    assert str(raised.value) == fault


@pytest.mark.parametrize("entry", [-1, 2**32, True, 3320.0, "AS3320", "3320", None])
def test_an_entry_that_is_no_as_number_is_refused(entry: Any) -> None:
    with pytest.raises(te.ConfigurationError, match=r"is no AS number: write a whole number from 0 to 4294967295"):
        read_as_numbers([entry])


def test_the_least_and_the_greatest_as_number_are_read() -> None:
    assert read_as_numbers([0, 4_294_967_295]) == (0, 4_294_967_295)


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ({"accept_countries": ("de",), "reject_countries": ("DE",)}, "'DE' is accepted and rejected: write it once"),
        ({"accept_as_numbers": (7,), "reject_as_numbers": (7,)}, "7 is accepted and rejected: write it once"),
    ],
)
def test_an_entry_that_is_accepted_and_rejected_is_refused(entries: dict[str, Any], fault: str) -> None:
    with pytest.raises(te.ConfigurationError, match=fault):
        GeoRules(**entries)


def test_a_policy_without_an_entry_has_no_rules() -> None:
    assert GeoRules().rules is None


def test_a_policy_has_at_most_a_thousand_entries_of_a_kind() -> None:
    assert GeoRules(accept_as_numbers=tuple(range(MAX_ENTRIES))).rules is not None
    with pytest.raises(te.ConfigurationError, match="accept_as_numbers has more than 1,000 entries"):
        GeoRules(accept_as_numbers=tuple(range(MAX_ENTRIES + 1)))


def test_the_table_of_a_service_is_read() -> None:
    keys = StageKeys([GeoRules])
    assert list(keys) == ["geoip"]
    made, faults = keys.read("geoip", {"accept_countries": ["de"], "reject_as_numbers": [7]}, "services.shop.geoip")
    assert (made, faults) == (GeoRules(accept_countries=("DE",), reject_as_numbers=(7,)), [])


def test_every_fault_of_the_table_of_a_service_is_named() -> None:
    table = {"accept_countries": ["Germany"], "reject_as_numbers": 7, "reject_country": ["DE"]}
    made, faults = StageKeys([GeoRules]).read("geoip", table, "services.shop.geoip")
    assert made is None
    assert faults == [
        (
            "services.shop.geoip has no key 'reject_country' (did you mean reject_countries?): there are "
            "accept_countries, reject_countries, accept_as_numbers, reject_as_numbers"
        ),
        (
            "services.shop.geoip.accept_countries = ['Germany']: 'Germany' is no ISO code of a country: write two "
            "letters, as in 'DE'"
        ),
        "services.shop.geoip.reject_as_numbers = 7: 7 is no list: write [3320, 64500]",
    ]


def test_each_key_has_live_sessions_judged_again() -> None:
    fates = {field.name: field.metadata.get("fate") for field in attrs.fields(GeoRules) if field.init}
    assert set(fates.values()) == {te.Fate.RECHECK}
