import ipaddress
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.addresses.classes import AddressClass, classify

IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

ONES = "ffff:ffff:ffff:ffff:ffff:ffff"

# The first and the last address of every block, and the addresses beside it.
EDGES = {
    AddressClass.GLOBAL: f"""
        1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15 168.63.129.17
        169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.1.255 192.0.3.0
        192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0
        203.0.112.255 203.0.114.0 223.255.255.255
        2000:: 2000:ffff:{ONES} 2001:200:: 2001:db7:{ONES} 2001:db9:: 2001:ffff:{ONES} 2003:: 3ffe:ffff:{ONES}
        3fff:1000:: 3fff:ffff:{ONES}""",
    AddressClass.PRIVATE: f"""
        10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.199 100.100.100.201 100.127.255.255 172.16.0.0 172.31.255.255
        192.168.0.0 192.168.255.255
        fc00:: fd00:ec2::22 fd00:ec2::24 fd00:ec2::253 fd00:ec2::255 fd00:42::41 fd00:42::43 fd20:ce::253 fd20:ce::255
        fdff:ffff:{ONES} fec0:: feff:ffff:{ONES}""",
    AddressClass.RESERVED: f"""
        0.0.0.1 0.255.255.255 192.0.0.0 192.0.0.191 192.0.0.193 192.0.0.255 192.0.2.0 192.0.2.255 192.88.99.0
        192.88.99.255 198.18.0.0 198.19.255.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255 240.0.0.0
        255.255.255.254 255.255.255.255
        ::2 ::1:0:0 ::fffe:ffff:ffff ::1:0:0:0 64:ff9a:{ONES} 64:ff9b::1:0:0 64:ff9b:0:{ONES[5:]} 64:ff9b:1::1
        64:ff9b:2:: 100:: 1fff:ffff:{ONES} 2001:1:: 2001:1ff:{ONES} 2001:db8:: 2001:db8:{ONES} 2002:0:1::
        2002:ffff:{ONES} 3fff:: 3fff:fff:{ONES}
        4000:: 5f00:: fbff:ffff:{ONES} fe00:: fe7f:ffff:{ONES}""",
    AddressClass.LINK_LOCAL: f"""
        169.254.0.0 169.254.42.41 169.254.42.43 169.254.169.253 169.254.169.255 169.254.170.1 169.254.170.3
        169.254.170.22 169.254.170.24 169.254.255.255 fe80:: febf:ffff:{ONES}""",
    AddressClass.LOOPBACK: "127.0.0.0 127.0.0.1 127.255.255.255 ::1",
    AddressClass.MULTICAST: f"224.0.0.0 239.255.255.255 ff00:: ff02::1 ffff:ffff:{ONES}",
    AddressClass.UNSPECIFIED: "0.0.0.0 ::",
    AddressClass.METADATA: """
        100.100.100.200 168.63.129.16 169.254.42.42 169.254.169.254 169.254.170.2 169.254.170.23 192.0.0.192
        fd00:42::42 fd00:ec2::23 fd00:ec2::254 fd20:ce::254""",
}


@pytest.mark.parametrize(
    ("text", "expected"), [(text, expected) for expected, texts in EDGES.items() for text in texts.split()]
)
def test_every_block_starts_and_ends_where_its_registry_says(text: str, expected: AddressClass) -> None:
    assert classify(ipaddress.ip_address(text).packed) is expected


IPV4 = {
    "8.8.8.8": AddressClass.GLOBAL,
    "10.1.2.3": AddressClass.PRIVATE,
    "100.64.0.1": AddressClass.PRIVATE,
    "192.0.2.1": AddressClass.RESERVED,
    "169.254.1.1": AddressClass.LINK_LOCAL,
    "127.0.0.1": AddressClass.LOOPBACK,
    "224.0.0.1": AddressClass.MULTICAST,
    "0.0.0.0": AddressClass.UNSPECIFIED,
    "169.254.169.254": AddressClass.METADATA,
    "168.63.129.16": AddressClass.METADATA,
}


def in_hex(ipv4: str, *, flip: int = 0) -> str:
    packed = bytes(byte ^ flip for byte in ipaddress.ip_address(ipv4).packed)
    return f"{packed[:2].hex()}:{packed[2:].hex()}"


@pytest.mark.parametrize(("ipv4", "inner"), IPV4.items())
@pytest.mark.parametrize("write", ["::ffff:{}", "64:ff9b::{}"])
def test_mapped_and_nat64_addresses_have_the_class_of_their_ipv4_address(
    ipv4: str, inner: AddressClass, write: str
) -> None:
    assert classify(ipaddress.ip_address(write.format(in_hex(ipv4))).packed) is inner


@pytest.mark.parametrize(("ipv4", "inner"), IPV4.items())
@pytest.mark.parametrize(
    ("write", "flip"),
    [
        ("::{}", 0),
        ("2002:{}::1", 0),
        ("2002:{}:5:6:7:8:9", 0),
        ("64:ff9b:1::{}", 0),
        ("64:ff9b:1:fffe:1:2:{}", 0),
        ("2001:0:{}:8000:1:f7f7:f7f7", 0),
        ("2001:0:808:808:8000:1:{}", 0xFF),
    ],
)
def test_ipv4_embedded_in_a_reserved_block_is_reserved_or_worse(
    ipv4: str, inner: AddressClass, write: str, flip: int
) -> None:
    if write == "::{}" and ipv4 == "0.0.0.0":
        expected = AddressClass.UNSPECIFIED
    elif inner in (AddressClass.GLOBAL, AddressClass.PRIVATE):
        expected = AddressClass.RESERVED
    else:
        expected = inner
    assert classify(ipaddress.ip_address(write.format(in_hex(ipv4, flip=flip))).packed) is expected


def test_a_teredo_address_has_the_worse_class_of_server_and_client() -> None:
    packed = ipaddress.ip_address(f"2001:0:{in_hex('127.0.0.1')}:8000:1:{in_hex('169.254.169.254', flip=0xFF)}").packed
    assert classify(packed) is AddressClass.METADATA


@pytest.mark.parametrize("size", [0, 1, 3, 5, 15, 17])
def test_bytes_of_another_size_than_an_address_are_refused(size: int) -> None:
    with pytest.raises(KeyError):
        classify(bytes(size))


def reached(ip: IP) -> IP:
    """Return the IPv4 address that a mapped one maps, because versions of Python differ on the class of mapped ones."""
    return getattr(ip, "ipv4_mapped", None) or ip


starts = st.sampled_from([ipaddress.ip_address(text) for texts in EDGES.values() for text in texts.split()])
near_edges = st.builds(
    lambda ip, by: type(ip)((int(ip) + by) % (1 << ip.max_prefixlen)), starts, st.integers(-300, 300)
)
embedding = st.builds(
    lambda ipv4, write: ipaddress.ip_address(write.format(in_hex(str(ipv4)))),
    st.ip_addresses(v=4),
    st.sampled_from(["::{}", "::ffff:{}", "64:ff9b::{}", "2002:{}::1", "2001:0:{}::1", "64:ff9b:1::{}"]),
)


@examples(120)
@given(st.ip_addresses() | near_edges | embedding)
@example(ipaddress.ip_address("64:ff9b::808:808"))
def test_a_global_address_is_global_to_the_standard_library_too(ip: IP) -> None:
    kind, ip = classify(ip.packed), reached(ip)
    if kind is AddressClass.GLOBAL:
        nat64 = ip in ipaddress.ip_network("64:ff9b::/96")  # reserved to the standard library
        reserved = ip.is_reserved and not nat64
        assert ip.is_global
        assert not any([ip.is_private, ip.is_loopback, ip.is_link_local, ip.is_multicast, ip.is_unspecified, reserved])
        assert not getattr(ip, "is_site_local", False)


@examples(120)
@given(st.ip_addresses() | near_edges)
def test_loopback_link_local_multicast_and_unspecified_agree_with_the_standard_library(ip: IP) -> None:
    kind, ip = classify(ip.packed), reached(ip)
    if kind is not AddressClass.METADATA:
        assert kind is AddressClass.MULTICAST or not ip.is_multicast
        if ip.is_loopback:
            assert kind is AddressClass.LOOPBACK
        if ip.is_link_local:
            assert kind is AddressClass.LINK_LOCAL
        if ip.is_unspecified:
            assert kind is AddressClass.UNSPECIFIED


def test_the_values_are_the_names_in_lower_case_from_least_to_most_harmful() -> None:
    assert [str(each) for each in AddressClass] == [
        "global", "private", "reserved", "link_local", "loopback", "multicast", "unspecified", "metadata",
    ]  # fmt: skip
