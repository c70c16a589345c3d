"""Decisions out of JSON: durations, networks, bans, and what is left out."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioedge_crowdsec.decisions import MAX_WORDS, Ignored, read_ban, read_duration, read_id, read_network

GOOD = {
    "id": 7,
    "origin": "crowdsec",
    "type": "ban",
    "scope": "Ip",
    "value": "192.0.2.7",
    "duration": "3h59m57.9s",
    "scenario": "crowdsecurity/ssh-bf",
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3h59m57.9s", 4 * 3600 - 2.1),
        ("143h58m15s", 143 * 3600 + 58 * 60 + 15),
        ("0s", 0),
        ("-10.42614ms", -0.01042614),
        ("-1m0.5s", -60.5),
        ("126.2µs", 126.2e-6),
        ("126.2μs", 126.2e-6),
        ("12us", 12e-6),
        ("7ns", 7e-9),
        ("2h", 7200),
        ("2m", 120),
        ("1h1ms", 3600.001),
    ],
)
def test_a_duration_of_go_is_read_in_seconds(text: str, seconds: float) -> None:
    assert read_duration(text) == pytest.approx(seconds, abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4",
        "h",
        "4 h",
        "4x",
        "4h ",
        "-",
        "+4h",
        "1.5h",
        "4s4h",
        "--4h",
        "4h-3m",
        "1e3s",
        ".s",
        "٣s",
        "inf",
        "nan",
        "9" * 200 + "s",
    ],
)
def test_a_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        read_duration(text)


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59_999_999_999), st.booleans())
def test_every_duration_as_go_writes_it_is_read(hours: int, minutes: int, nanoseconds: int, negative: bool) -> None:
    text = f"{'-' * negative}{hours}h{minutes}m{nanoseconds // 10**9}.{nanoseconds % 10**9:09}s"
    seconds = hours * 3600 + minutes * 60 + nanoseconds / 1e9
    assert read_duration(text) == pytest.approx(-seconds if negative else seconds)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.7", bytes([192, 0, 2, 7])),
        ("192.0.2.7/32", bytes([192, 0, 2, 7])),
        ("198.51.100.9/24", (4, 8, 0xC63364)),
        ("0.0.0.0/0", (4, 32, 0)),
        ("2001:DB8::1", ipaddress.ip_address("2001:db8::1").packed),
        ("2001:db8::1/64", (16, 64, 0x20010DB8_00000000)),
        ("::/0", (16, 128, 0)),
        ("::ffff:192.0.2.7", bytes([192, 0, 2, 7])),
        ("::ffff:192.0.2.7/120", (4, 8, 0xC00002)),
        ("::ffff:0:0/96", (4, 32, 0)),
        ("::ffff:0:0/95", (16, 33, 0xFFFE_0000_0000 >> 33)),
    ],
)
def test_an_address_or_a_prefix_is_read(text: str, network: object) -> None:
    assert read_network(text) == network


@pytest.mark.parametrize(
    "text",
    ["", "FR", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/-1", "1.2.3.4/+8",
     "1.2.3.4/255.0.0.0", "/8", "fe80::1%eth0", "2001:db8::/129", "1.2.3.4 ", "example.com",
     "1.2.3.4\0", "ü:é", "\ud800"],
)  # fmt: skip
def test_a_text_that_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no "):
        read_network(text)


def test_a_decision_is_a_ban_from_now_until_its_end_with_words_for_people() -> None:
    ban = read_ban(GOOD | {"duration": "4h0m0s"}, ["ban"], 100)
    assert ban == (bytes([192, 0, 2, 7]), 14_500.0, "crowdsec: ban by crowdsecurity/ssh-bf")


@pytest.mark.parametrize("scope", ["Ip", "ip", "IP", "Range", "range"])
@pytest.mark.parametrize("kind", ["ban", "Ban"])
def test_the_case_of_a_scope_and_of_a_type_makes_no_difference(scope: str, kind: str) -> None:
    assert read_ban(GOOD | {"scope": scope, "type": kind}, ["ban"], 0) == read_ban(GOOD, ["ban"], 0)


def test_a_decision_without_a_scenario_is_a_ban_all_the_same() -> None:
    for scenario in (None, "", 5):
        ban = read_ban(GOOD | {"scenario": scenario}, ["ban"], 0)
        assert not isinstance(ban, Ignored)
        assert ban[2] == "crowdsec: ban"


def test_a_scenario_that_cannot_be_printed_is_escaped() -> None:
    ban = read_ban(GOOD | {"scenario": "a\nb\ud800"}, ["ban"], 0)
    assert not isinstance(ban, Ignored)
    assert ban[2] == r"crowdsec: ban by 'a\nb\ud800'"


def test_a_long_scenario_is_cut() -> None:
    ban = read_ban(GOOD | {"scenario": "x" * 10_000}, ["ban"], 0)
    assert not isinstance(ban, Ignored)
    assert ban[2] == "crowdsec: ban by " + "x" * MAX_WORDS


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        (GOOD | {"scope": "Country", "value": "FR"}, Ignored.SCOPE),
        (GOOD | {"scope": "AS", "value": "64496"}, Ignored.SCOPE),
        (GOOD | {"scope": ""}, Ignored.SCOPE),
        (GOOD | {"type": "captcha"}, Ignored.TYPE),
        (GOOD | {"value": "example.com"}, Ignored.VALUE),
        (GOOD | {"duration": "soon"}, Ignored.SHAPE),
        (GOOD | {"value": None}, Ignored.SHAPE),
        (GOOD | {"duration": 4}, Ignored.SHAPE),
        ({}, Ignored.SHAPE),
        ([], Ignored.SHAPE),
        (None, Ignored.SHAPE),
        ("ban", Ignored.SHAPE),
    ],
)
def test_a_decision_that_is_no_ban_is_left_out_with_its_reason(decision: Any, why: Ignored) -> None:
    assert read_ban(decision, ["ban"], 0) is why


def test_other_types_are_refused_where_they_are_asked_for() -> None:
    ban = read_ban(GOOD | {"type": "captcha"}, ["ban", "captcha"], 0)
    assert not isinstance(ban, Ignored)
    assert ban[2] == "crowdsec: captcha by crowdsecurity/ssh-bf"


@pytest.mark.parametrize(
    ("decision", "found"), [(GOOD, 7), ({"id": True}, None), ({"id": "7"}, None), ({}, None), (None, None), ([7], None)]
)
def test_an_id_is_a_whole_number_or_none(decision: Any, found: int | None) -> None:
    assert read_id(decision) == found


@settings(max_examples=50, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.dictionaries(
    st.sampled_from([*GOOD, "else"]), each) | st.lists(each), max_leaves=10))  # fmt: skip
def test_no_value_of_json_is_a_fault(decision: Any) -> None:
    read_id(decision)
    read_ban(decision, ["ban"], 0)
