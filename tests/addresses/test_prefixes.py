import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.addresses.prefixes import cover, read_span

v4, v6 = st.ip_addresses(v=4), st.ip_addresses(v=6)


def span(entry: str) -> tuple[str, str]:
    first, last, size = read_span(entry)
    kind = ipaddress.IPv4Address if size == 4 else ipaddress.IPv6Address
    return str(kind(first)), str(kind(last))


@pytest.mark.parametrize(
    ("entry", "first", "last"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.7/24", "192.0.2.0", "192.0.2.255"),
        ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
        (" 192.0.2.7 - 192.0.2.9 ", "192.0.2.7", "192.0.2.9"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::1"),
        ("2001:db8::/127", "2001:db8::", "2001:db8::1"),
        ("::1-::f", "::1", "::f"),
    ],
)
def test_an_entry_holds_from_its_first_to_its_last_address(entry: str, first: str, last: str) -> None:
    assert span(entry) == (first, last)


def test_a_local_socket_has_no_address() -> None:
    assert read_span("unix") == (0, 0, 0)


@pytest.mark.parametrize(
    "entry",
    ["", "10.1", "012.0.0.1", "256.0.0.1", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/٣", "::1/129", "::1%lo",
     "1.2.3.9-1.2.3.4", "1.2.3.4-::1", "localhost", "1.2.3.4/255.0.0.0", None, 7],
)  # fmt: skip
def test_what_is_no_entry_is_refused(entry: str) -> None:
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        read_span(entry)


@examples(100)
@given(st.one_of(st.tuples(v4, v4), st.tuples(v6, v6)))
def test_a_range_is_covered_by_the_prefixes_that_the_standard_library_finds(
    pair: tuple[ipaddress.IPv4Address, ipaddress.IPv4Address],
) -> None:
    low, high = sorted(pair)
    size = 4 if low.version == 4 else 16
    found = [
        (prefix >> 8, prefix & 0xFF) for prefix, found_size in cover(int(low), int(high), size) if found_size == size
    ]
    expected = [(int(each.network_address), each.prefixlen) for each in ipaddress.summarize_address_range(low, high)]
    assert found == [each for each in expected if size == 4 or each[0] >> 32 != 0xFFFF]


def test_mapped_addresses_are_covered_as_what_they_map() -> None:
    first = int(ipaddress.IPv6Address("::ffff:10.0.0.0"))
    assert list(cover(first, first + 255, 16)) == [(10 << 24 << 8 | 24, 4)]
