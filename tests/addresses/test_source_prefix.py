from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.addresses.address import normalise_source
from trioedge.addresses.source_prefix import (
    SourcePrefix,
    cut,
    flood_groups,
    parse_per,
    parse_source_prefix,
    parse_span,
    prefix_text,
)
from trioedge.errors import ConfigurationError

addresses = st.ip_addresses()


@examples(100)
@given(addresses, st.integers(1, 128))
def test_a_key_is_the_address_of_the_network(address: Any, length: int) -> None:
    length = min(length, address.max_prefixlen)
    network = ip_network((address, length), strict=False)
    assert cut(address.packed, length) == network.network_address.packed
    whole = length == address.max_prefixlen
    assert prefix_text(cut(address.packed, length), length) == (str(address) if whole else str(network))


def test_ipv4_is_its_own_key_and_ipv6_is_cut_to_its_64() -> None:
    prefix = SourcePrefix()
    assert prefix.key(b"\xc0\0\2\7") == b"\xc0\0\2\7"
    assert prefix.key(b"") == b""
    assert prefix.key(ip_address("2001:db8::1").packed) == ip_address("2001:db8::").packed
    texts = [prefix.text(key) for key in (b"\xc0\0\2\7", b"", ip_address("2001:db8::").packed)]
    assert texts == ["192.0.2.7", "unix", "2001:db8::/64"]


@pytest.mark.parametrize(("lengths", "cut_from"), [((32, 64), 16), ((32, 128), 17), ((24, 64), 4), ((24, 128), 4)])
def test_an_address_of_fewer_bytes_is_its_own_key(lengths: tuple[int, int], cut_from: int) -> None:
    prefix = parse_source_prefix(lengths)
    assert prefix.cut_from == cut_from
    for packed in (b"", b"\xc0\0\2\7", ip_address("2001:db8::1").packed):
        if len(packed) < cut_from:
            assert prefix.key(packed) == packed


@pytest.mark.parametrize(
    "value", [64, (32,), (0, 64), (33, 64), (32, 129), ("32", "64"), None, (True, 64), (32, 64, 1)]
)
def test_a_bad_prefix_of_an_edge_is_one_clear_line(value: object) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_source_prefix(value)
    assert str(refusal.value) == (
        f"Edge(source_prefix={value!r}) must be the prefix lengths of IPv4, 1 to 32, and IPv6, 1 to 128, as in (32, 64)"
    )


CHOICES = ("service", "source", "peer")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("service", ("service", None)),
        ("source", ("source", None)),
        ("source/128", ("source", 128)),
        ("peer/64", ("peer", 64)),
    ],
)
def test_a_limit_may_name_a_finer_prefix(text: str, parsed: tuple[str, int | None]) -> None:
    assert parse_per("SessionGate", "per", text, CHOICES) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "source/",
        "source/0",
        "source/129",
        "source/x",
        "source/6\u0664",
        "source/-1",
        "source/ 64",
        "service/64",
        "all",
        "",
        None,
        5,
        ["source"],
    ],
)
def test_a_bad_key_of_a_limit_is_one_clear_line(text: object) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_per("SessionGate", "per", text, CHOICES)
    assert str(refusal.value) == (
        f"SessionGate(per={text!r}) must be 'service' or 'source' or 'peer'; a source may name a finer IPv6 prefix of "
        "1 to 128 bits, as in 'source/128'"
    )


def span(text: str) -> tuple[str, str]:
    first, last = parse_span(text)
    return str(ip_address(first)), str(ip_address(last))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7", ("192.0.2.7", "192.0.2.7")),
        ("192.0.2.7/24", ("192.0.2.0", "192.0.2.255")),
        ("0.0.0.0/0", ("0.0.0.0", "255.255.255.255")),
        ("::ffff:192.0.2.7", ("192.0.2.7", "192.0.2.7")),
        ("::ffff:192.0.2.7/120", ("192.0.2.0", "192.0.2.255")),
        ("2001:DB8::0:1/64", ("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff")),
        ("2001:db8::/33", ("2001:db8::", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff")),
    ],
)
def test_an_eviction_takes_addresses_and_prefixes(text: str, expected: tuple[str, str]) -> None:
    assert span(text) == expected


def test_unix_is_a_source() -> None:
    assert parse_span("unix") == (b"", b"")


@pytest.mark.parametrize(
    "text",
    [
        "here",
        "192.0.2.0/33",
        "192.0.2.0/",
        "192.0.2.0/x",
        "192.0.2/24",
        "unix/8",
        "::ffff:192.0.2.7/64",
        "2001:db8::/129",
        "/64",
        "",
        None,
        b"192.0.2.7",
        7,
    ],
)
def test_a_bad_source_of_an_eviction_is_one_clear_line(text: object) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_span(text)
    assert str(refusal.value) == f"source {text!r} is not an IP address, nor a prefix such as 2001:db8::/64, nor 'unix'"


@examples(200)
@given(addresses, addresses)
def test_two_addresses_share_a_group_exactly_when_they_share_the_prefix(one: Any, other: Any) -> None:
    lengths = {4: (24, 16, 8), 6: (48, 32, 16)}
    of_one, of_other = flood_groups(one.packed), flood_groups(other.packed)
    for level in range(3):
        same = one.version == other.version and other in ip_network((one, lengths[one.version][level]), strict=False)
        assert (of_one[level] == of_other[level]) is same
    assert not set(of_one) & set(of_other) - {*of_one[:3]} & {*of_other[:3]}


@pytest.mark.parametrize("key", ["192.0.2.7", ("shop", "192.0.2.7"), (7, b"\xc0\0\2\7"), "::ffff:192.0.2.7"])
def test_keys_with_an_address_have_its_groups(key: object) -> None:
    assert flood_groups(key) == (b"\xc0\0\2", b"\xc0\0", b"\xc0")


@pytest.mark.parametrize("key", ["shop", 7, None, (), b"", ("192.0.2.7", 7), b"12345"])
def test_other_keys_have_no_groups(key: object) -> None:
    assert flood_groups(key) == ()


def text(prefix: SourcePrefix, source: str) -> str:
    return prefix.text(prefix.key(normalise_source(source)[1]))


@pytest.mark.parametrize(
    ("prefix", "bits", "names"),
    [
        (SourcePrefix(), None, ["192.0.2.7", "2001:db8:0:1::/64", "2001:db8:0:1::/64", "unix"]),
        (SourcePrefix(), 128, ["192.0.2.7", "2001:db8:0:1::", "2001:db8:0:1::9", "unix"]),
        (SourcePrefix(24, 56), None, ["192.0.2.0/24", "2001:db8::/56", "2001:db8::/56", "unix"]),
        (SourcePrefix(24, 56), 128, ["192.0.2.0/24", "2001:db8:0:1::", "2001:db8:0:1::9", "unix"]),
    ],
)
def test_a_device_is_named_by_its_address_or_its_prefix(
    prefix: SourcePrefix, bits: int | None, names: list[str]
) -> None:
    sources = ("192.0.2.7", "2001:db8:0:1::", "2001:db8:0:1::9", "unix")
    assert [text(prefix.finer(bits), source) for source in sources] == names
