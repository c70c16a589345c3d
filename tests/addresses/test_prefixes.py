import ipaddress
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import netaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.addresses.prefixes import cover, read_span

IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

ROOT = Path(__file__).parents[2]

v4, v6 = st.ip_addresses(v=4), st.ip_addresses(v=6)
pairs = st.one_of(st.tuples(v4, v4), st.tuples(v6, v6)).map(sorted)
blanks = st.sampled_from(["", "", " ", "\t", "  "])


def span(entry: str) -> tuple[str, str]:
    first, last, size = read_span(entry)
    kind = ipaddress.IPv4Address if size == 4 else ipaddress.IPv6Address
    return str(kind(first)), str(kind(last))


def is_refused(entry: str) -> bool:
    try:
        read_span(entry)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("entry", "first", "last"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.0/24", "192.0.2.0", "192.0.2.255"),
        ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
        ("255.255.255.255/32", "255.255.255.255", "255.255.255.255"),
        ("10.0.0.1/008", "10.0.0.0", "10.255.255.255"),
        ("192.0.2.7-192.0.2.9", "192.0.2.7", "192.0.2.9"),
        ("192.0.2.7-192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1", "2001:db8::1"),
        ("2001:db8::/127", "2001:db8::", "2001:db8::1"),
        ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("::1-::f", "::1", "::f"),
    ],
)
def test_an_entry_spans_its_first_to_its_last_address(entry: str, first: str, last: str) -> None:
    assert span(entry) == (first, last)


@pytest.mark.parametrize(
    ("entry", "first", "last"),
    [
        ("192.0.2.7/24", "192.0.2.0", "192.0.2.255"),
        ("10.1.2.3/0", "0.0.0.0", "255.255.255.255"),
        ("2001:db8::7/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
    ],
)
def test_a_prefix_with_host_bits_is_read_as_its_network(entry: str, first: str, last: str) -> None:
    assert span(entry) == (first, last)


@pytest.mark.parametrize(
    ("entry", "plain"),
    [
        ("10.0.0.0/8 ", "10.0.0.0/8"),
        (" 10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0 / 8", "10.0.0.0/8"),
        ("\t192.0.2.7\n", "192.0.2.7"),
        (" 2001:db8::/32 ", "2001:db8::/32"),
        (" 192.0.2.7 - 192.0.2.9 ", "192.0.2.7-192.0.2.9"),
        (" unix ", "unix"),
    ],
)
def test_blanks_around_an_entry_and_its_parts_are_ignored(entry: str, plain: str) -> None:
    assert read_span(entry) == read_span(plain)


def test_mapped_ipv6_is_read_as_ipv6() -> None:
    assert span("::ffff:10.0.0.7") == ("::ffff:a00:7", "::ffff:a00:7")
    assert span("::ffff:10.0.0.7/104") == ("::ffff:a00:0", "::ffff:aff:ffff")


def test_unix_is_read_as_a_span_without_size() -> None:
    assert read_span("unix") == (0, 0, 0)


@pytest.mark.parametrize(
    "entry",
    ["", " ", "localhost", "UNIX", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/+8", "1.2.3.4/٣", "1.2.3.4/8/8",
     "::1/129", "1.2.3.9-1.2.3.4", "::9-::1", "1.2.3.4-::1", "::1-1.2.3.4", "1.2.3.4-", "-1.2.3.4", "1.2.3.4-5",
     "1.2.3.0/24-1.2.4.0", "1.2.3.0-1.2.4.0/24", "1.2.3.4-1.2.3.5-1.2.3.6", "1.2. 3.4", "1.2.3.4\0", "\udcff"],
)  # fmt: skip
def test_text_that_is_no_address_prefix_or_range_is_refused(entry: str) -> None:
    assert is_refused(entry)


@pytest.mark.parametrize(
    "entry",
    ["10", "10/8", "10.1", "10.1/16", "10.0.0.1-10.9", "012.0.0.1", "010.0.0.0/8", "0x0a.0.0.1", "0x0a000001",
     "167772161", "256.0.0.1", "10.0.0.1.1", "::ffff:010.0.0.1"],
)  # fmt: skip
def test_short_octal_and_hexadecimal_ipv4_is_refused(entry: str) -> None:
    assert is_refused(entry)


@pytest.mark.parametrize(
    "entry",
    ["10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "10.0.0.0/0.0.0.0", "10.0.0.0/255.255.255.255",
     " 10.0.0.0/255.0.0.0 ", "2001:db8::/ffff:ffff::", "2001:db8::/::ffff"],
)  # fmt: skip
def test_a_netmask_or_hostmask_in_place_of_a_length_is_refused(entry: str) -> None:
    assert is_refused(entry)


@pytest.mark.parametrize("entry", ["fe80::1%eth0", "fe80::%eth0/64", "fe80::/64%eth0", "fe80::1%1-fe80::2%1"])
def test_an_address_with_a_zone_is_refused(entry: str) -> None:
    assert is_refused(entry)


@pytest.mark.parametrize("entry", [None, 7, 1.5, True, b"10.0.0.1", ["10.0.0.1"], ("10.0.0.1", 8)])
def test_a_value_that_is_not_text_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="an entry is text"):
        read_span(entry)


@examples(150)
@given(st.ip_addresses(), st.integers(0, 128), blanks, blanks)
def test_a_prefix_spans_what_the_standard_library_and_netaddr_say(
    address: IP, length: int, before: str, behind: str
) -> None:
    length %= address.max_prefixlen + 1
    first, last, size = read_span(f"{before}{address}/{length}{behind}")
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    assert (first, last, size) == (int(network[0]), int(network[-1]), address.max_prefixlen // 8)
    theirs = netaddr.IPNetwork(f"{address}/{length}")
    assert (first, last) == (theirs.first, theirs.last)


@examples(150)
@given(pairs, blanks, blanks)
def test_a_range_spans_what_netaddr_says(pair: list[IP], before: str, behind: str) -> None:
    low, high = pair
    theirs = netaddr.IPRange(str(low), str(high))
    assert read_span(f"{low}{before}-{behind}{high}") == (theirs.first, theirs.last, low.max_prefixlen // 8)


@examples(150)
@given(v6, st.booleans())
def test_ipv6_in_full_and_in_capitals_is_the_same_address(address: ipaddress.IPv6Address, capitals: bool) -> None:
    text = address.exploded.upper() if capitals else address.exploded
    assert read_span(text) == (int(address), int(address), 16)


@examples(100)
@given(pairs)
def test_a_range_is_covered_by_the_prefixes_that_the_standard_library_finds(pair: list[IP]) -> None:
    low, high = pair
    size = low.max_prefixlen // 8
    found = [
        (prefix >> 8, prefix & 0xFF) for prefix, found_size in cover(int(low), int(high), size) if found_size == size
    ]
    expected = [(int(each.network_address), each.prefixlen) for each in ipaddress.summarize_address_range(low, high)]
    assert found == [each for each in expected if size == 4 or each[0] >> 32 != 0xFFFF]


def test_mapped_ipv6_is_covered_by_ipv4_prefixes() -> None:
    first = int(ipaddress.IPv6Address("::ffff:10.0.0.0"))
    assert list(cover(first, first + 255, 16)) == [(10 << 24 << 8 | 24, 4)]


@pytest.mark.parametrize(
    ("code", "imported"),
    [
        ("import trioedge", False),
        ("from trioedge.addresses.rules import SourceRules; SourceRules(['192.0.2.7', '10.0.0.0/8', 'unix'])", False),
        ("from trioedge.addresses.classes import classify; classify(bytes(16))", False),
        ("from trioedge.addresses.rules import SourceRules; SourceRules(['2001:db8::/32'])", True),
        ("from trioedge.addresses.rules import SourceRules; SourceRules(['192.0.2.10-192.0.2.20'])", True),
    ],
)
def test_netaddr_is_imported_by_the_first_entry_that_is_not_canonical_ipv4(code: str, imported: bool) -> None:
    code += "; import sys; print('netaddr' in sys.modules)"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    assert run.stdout.strip() == str(imported)
