"""Destination rules: every kind of entry, on both sides, and the faults of entries."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.addresses.address import packed_ip, parse_address
from trioedge.addresses.destination_rules import UNMATCHED, AddressRules, DestinationRules
from trioedge.errors import RulesError


def accepts(entry: str, destination: str) -> bool:
    """Tell whether an entry alone accepts a destination, without a look at addresses of a name."""
    accepted = DestinationRules(accept=[entry]).judge(destination)
    rejected = DestinationRules(reject=[entry]).judge(destination)
    if accepted is None:
        assert rejected == entry, "the same entry rejects what it accepts"
        return True
    assert accepted == UNMATCHED
    assert rejected is None
    return False


@pytest.mark.parametrize(
    ("entry", "destination"),
    [
        ("example.com", "tcp://example.com:443"),
        ("Example.COM.", "tcp://example.com:443"),
        ("example.com", "tcp://example.com.:443"),
        ("*.example.com", "tcp://a.example.com:1"),
        ("*.example.com", "tcp://c.b.a.example.com:1"),
        ("*.com", "tcp://example.com:443"),
        ("*", "tcp://example.com:443"),
        ("*", "tcp://192.0.2.7:443"),
        ("*", "tcp://[2001:db8::1]:443"),
        ("*:443", "tcp://example.com:443"),
        (":443", "tcp://192.0.2.7:443"),
        (" *:443 ", "tcp://example.com:443"),
        ("*:1-65535", "tcp://example.com:65535"),
        ("example.com:440-443", "tcp://example.com:440"),
        ("*.example.com:443", "tcp://a.example.com:443"),
        ("192.0.2.7", "tcp://192.0.2.7:1"),
        ("192.0.2.7:22", "tcp://192.0.2.7:22"),
        ("10.0.0.0/8", "tcp://10.255.0.1:1"),
        ("10.0.0.0/8:22-23", "tcp://10.255.0.1:23"),
        ("10.0.0.1-10.0.0.9:22", "tcp://10.0.0.9:22"),
        ("10.0.0.0/8", "tcp://[::ffff:10.0.0.1]:1"),
        ("2001:db8::/32", "tcp://[2001:db8:1::]:1"),
        ("[2001:db8::/32]", "tcp://[2001:db8:1::]:1"),
        ("[2001:DB8::/32]:443", "tcp://[2001:db8:1::]:443"),
        ("2001:db8::1-2001:db8::9", "tcp://[2001:db8::9]:1"),
        ("fe80::/10", "tcp://[fe80::1%eth0]:1"),
        ("unix", "unix:///run/db.sock"),
        ("xn--bcher-kva.example", "tcp://xn--bcher-kva.example:1"),
    ],
)
def test_an_entry_matches(entry: str, destination: str) -> None:
    assert accepts(entry, destination)


@pytest.mark.parametrize(
    ("entry", "destination"),
    [
        ("example.com", "tcp://a.example.com:443"),
        ("example.com", "tcp://example.com.evil.test:443"),
        ("*.example.com", "tcp://example.com:443"),
        ("*.example.com", "tcp://notexample.com:443"),
        ("*:443", "tcp://example.com:444"),
        ("example.com:440-443", "tcp://example.com:439"),
        ("example.com:443", "tcp://example.org:443"),
        ("192.0.2.7:22", "tcp://192.0.2.7:23"),
        ("10.0.0.0/8", "tcp://11.0.0.1:1"),
        ("10.0.0.0/8:22", "tcp://10.0.0.1:21"),
        ("[2001:db8::/32]:443", "tcp://[2001:db8::1]:80"),
        ("*", "unix:///run/db.sock"),
        ("*:443", "unix:///run/db.sock"),
        ("0.0.0.0/0", "unix:///run/db.sock"),
        ("unix", "tcp://example.com:1"),
        ("unix", "tcp://unix:1"),
    ],
)
def test_an_entry_does_not_match(entry: str, destination: str) -> None:
    assert not accepts(entry, destination)


# Names, whose addresses tell.


def addresses_of(judged: object) -> AddressRules:
    assert isinstance(judged, AddressRules)
    return judged


def refusal(judged: object, host: str, port: int = 443) -> str:
    return addresses_of(judged).refusal(ip_address(host).packed, port)


def test_the_addresses_of_an_accepted_name_are_judged_by_the_networks_that_reject() -> None:
    rules = DestinationRules(accept=["*.example.com"], reject=["10.0.0.0/8"])
    judged = rules.judge("tcp://a.example.com:443")
    assert refusal(judged, "192.0.2.1") == ""
    assert refusal(judged, "10.0.0.1") == "is rejected by 10.0.0.0/8"
    assert rules.judge("tcp://example.org:443") == UNMATCHED, "no address of it can be accepted"


def test_a_name_that_no_entry_accepts_goes_to_addresses_that_an_entry_accepts() -> None:
    rules = DestinationRules(accept=["example.com", "10.0.0.0/8:22"], reject=["10.9.0.0/16"])
    judged = rules.judge("tcp://db.test:22")
    assert refusal(judged, "10.0.0.1", 22) == ""
    assert refusal(judged, "10.0.0.1", 23) == UNMATCHED
    assert refusal(judged, "192.0.2.1", 22) == UNMATCHED
    assert refusal(judged, "10.9.0.1", 22) == "is rejected by 10.9.0.0/16"
    assert refusal(rules.judge("tcp://example.com:22"), "192.0.2.1", 22) == "", "the name is accepted already"


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("127.0.0.0/8", "0.0.0.0"),
        ("::1", "::"),
        ("127.0.0.1", "::"),
        ("203.0.113.0/24", "64:ff9b::203.0.113.7"),
        ("203.0.113.0/24:443", "2002:cb00:7107::1"),
        ("203.0.113.7", "::203.0.113.7"),
        ("203.0.113.7", "2001:0:cb00:7107::1"),
    ],
)
def test_an_entry_rejects_the_addresses_that_lead_to_its_own_and_accepts_none_of_them(entry: str, host: str) -> None:
    destination = f"tcp://{f'[{host}]' if ':' in host else host}:443"
    assert DestinationRules(reject=[entry]).judge(destination) == entry
    assert DestinationRules(accept=[entry]).judge(destination) == UNMATCHED
    by_address = DestinationRules(reject=[entry]).judge("tcp://a.example:443")
    assert isinstance(by_address, AddressRules)
    assert by_address.refusal(packed_ip(host) or b"", 443) == f"is rejected by {entry}"


def test_without_networks_no_address_is_judged() -> None:
    assert DestinationRules(accept=["a.test"], reject=["*:25"]).judge("tcp://a.test:80") is None
    assert DestinationRules().judge("tcp://a.test:80") is None


def test_the_rules_for_addresses_are_the_same_object_each_time() -> None:
    rules = DestinationRules(reject=["10.0.0.0/8"])
    assert rules.judge("tcp://a.test:80") is rules.judge("tcp://b.test:81")


# Precedence.


@pytest.mark.parametrize(
    ("accept", "reject"),
    [
        (["a.example.com"], ["*.example.com"]),
        (["*.example.com"], ["a.example.com"]),
        (["*.example.com"], ["*:25"]),
        (["a.example.com:25"], ["*"]),
        (["*:25"], ["a.example.com"]),
        (["*"], [":1-1024"]),
    ],
)
def test_an_entry_that_rejects_wins_over_every_one_that_accepts(accept: list[str], reject: list[str]) -> None:
    assert DestinationRules(accept, reject).judge("tcp://a.example.com:25") == reject[0]
    assert DestinationRules(accept).judge("tcp://a.example.com:25") is None


def test_a_network_that_rejects_wins_over_a_smaller_one_that_accepts() -> None:
    rules = DestinationRules(accept=["10.1.0.0/16"], reject=["10.0.0.0/8"])
    assert rules.judge("tcp://10.1.0.1:1") == "10.0.0.0/8"


# Faults.


@pytest.mark.parametrize(
    "entry",
    [
        "", " ", ":", "*:", "*:0", "*:65536", "*:9-8", "*:a", "*:-5", "*:80,443", "a b", "a*.example.com",
        "*.*.example", "*example.com", "a.*.com", "*.", "-a.example", "a..example", "tcp://example.com:443",
        "example.com/", "10.0.0.0/33", "10.0.0", "10.0.0.9-10.0.0.1", "[10.0.0.1", "[]", "[]:443", "[*]",
        "[example.com]",
        "2001:db8::/129", "unix:80", "bücher.example", "a" * 64, "300.0.0.1", 5, None, b"example.com",
    ],
)  # fmt: skip
def test_an_entry_that_is_none_is_refused_with_its_place(entry: Any) -> None:
    for verb in ("accept", "reject"):
        with pytest.raises(RulesError) as refused:
            DestinationRules(**{verb: ["example.com", entry]})
        assert str(refused.value).startswith(f"{verb}[1] = {entry!r} is no name (example.com, *.example.com), address")


@pytest.mark.parametrize("listed", ["example.com", None, 5])
def test_a_list_that_is_none_is_refused_with_the_mend(listed: Any) -> None:
    with pytest.raises(RulesError) as refused:
        DestinationRules(reject=listed)
    assert str(refused.value) == f"reject={listed!r} must be a list of entries: write [{listed!r}]"


def test_an_entry_on_both_sides_is_refused_however_it_is_written() -> None:
    for accept, reject in (("example.com", "Example.com."), ("*", " * "), (":443", "*:443")):
        with pytest.raises(RulesError, match="is both accepted and rejected"):
            DestinationRules([accept], [reject])
    DestinationRules(["example.com:1"], ["example.com:2"])


def test_all_faults_are_told_up_to_a_hundred() -> None:
    with pytest.raises(RulesError) as refused:
        DestinationRules(["a b"] * 60, ["c d"] * 60)
    assert (len(refused.value.faults), refused.value.more) == (100, 20)


def test_the_number_of_entries_is_known() -> None:
    rules = DestinationRules(iter(["a.test", "10.0.0.0/8"]), (each for each in ["b.test"]))
    assert (rules.accepted, rules.rejected) == (2, 1)


LABEL = st.from_regex(r"\A[a-z]([a-z0-9-]{0,10}[a-z0-9])?\Z")


@given(st.lists(LABEL, min_size=1, max_size=5), st.lists(LABEL, min_size=1, max_size=3), st.integers(1, 65_535))
def test_a_wildcard_matches_by_whole_labels(labels: list[str], suffix: list[str], port: int) -> None:
    name, below = ".".join(labels), ".".join(suffix)
    destination = str(parse_address(f"tcp://{name}:{port}"))
    assert accepts(f"*.{below}", destination) == name.endswith(f".{below}")
    assert accepts(f"{below}:{port}", destination) == (name == below)
