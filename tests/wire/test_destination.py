"""Hosts and ports that clients name become addresses, or are refused in words that quote no byte of theirs."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.addresses.address import parse_address
from trioedge.testing import make_session
from trioedge.wire.destination import packed_destination, read_authority, read_destination
from trioedge.wire.errors import WireError


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (b"example.com", "tcp://example.com:80"),
        (b"EXAMPLE.Com.", "tcp://example.com.:80"),
        (b"my_host", "tcp://my_host:80"),
        (b"xn--bcher-kva.example", "tcp://xn--bcher-kva.example:80"),
        (b"a" * 63 + b".b", f"tcp://{'a' * 63}.b:80"),
        (b"192.0.2.1", "tcp://192.0.2.1:80"),
        (b"2001:DB8::0:1", "tcp://[2001:db8::1]:80"),
        (b"[2001:db8::1]", "tcp://[2001:db8::1]:80"),
        (b"::ffff:127.0.0.1", "tcp://127.0.0.1:80"),
    ],
)
def test_a_name_or_an_ip_address_is_read(host: bytes, address: str) -> None:
    assert str(read_destination(host, 80)) == address


@pytest.mark.parametrize(
    "host",
    [
        b"", b".", b" ", b"a b", b"a\0b", b"a\r\nb", b"a..b", b"-a", b"a-", b"a" * 64, b"a." * 127 + b"a", b"b\xfccher",
        "bücher".encode(), b"127.1", b"2130706433", b"1.2.3", b"192.0.2.1.", b"192.0.2.256", b"192.0.2.01",
        b"[192.0.2.1]", b"[::1", b"::1]", b"[]", b"[[::1]]", b"fe80::1%eth0", b"[fe80::1%eth0]", b"a%b", b"user@host",
        b"host/path", b"host:80", b"tcp://host", b"host?x", b"host#x", b"*", b"a,b", b"unix:///run/x.sock",
    ],
)  # fmt: skip
def test_a_host_that_is_neither_a_name_nor_an_ip_address_is_refused(host: bytes) -> None:
    with pytest.raises(WireError, match=r"^the host is neither a name nor an IP address$"):
        read_destination(host, 80)


@pytest.mark.parametrize("read", [read_destination, lambda _, port: packed_destination(b"\1\2\3\4", port)])
def test_port_0_is_refused(read: object) -> None:
    with pytest.raises(WireError, match=r"^port 0$"):
        read(b"host", 0)  # type: ignore[operator]


@given(st.ip_addresses(), st.integers(1, 65_535))
def test_packed_bytes_and_the_text_of_an_address_lead_to_the_same_place(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    packed = packed_destination(address.packed, port)
    assert packed == read_destination(str(address).encode(), port)
    assert (packed.literal, packed.port) == (True, port)


@given(st.binary(max_size=300) | st.text(max_size=60).map(str.encode), st.integers(1, 65_535))
@examples(400)
def test_what_is_read_is_an_address_that_can_be_written_and_parsed_again(host: bytes, port: int) -> None:
    try:
        address = read_destination(host, port)
    except WireError:
        return
    assert parse_address(str(address)) == address
    session = make_session()
    session.destination = address
    assert session.destination == str(address)


@pytest.mark.parametrize(
    ("authority", "address"),
    [
        (b"example.com:443", "tcp://example.com:443"),
        (b"192.0.2.1:1", "tcp://192.0.2.1:1"),
        (b"[2001:db8::1]:65535", "tcp://[2001:db8::1]:65535"),
    ],
)
def test_an_authority_is_read(authority: bytes, address: str) -> None:
    assert str(read_authority(authority)) == address


@pytest.mark.parametrize(
    "authority",
    [
        b"", b":", b":443", b"example.com", b"example.com:", b"example.com:0", b"example.com:00443",
        b"example.com:65536", b"example.com:999999", b"example.com:+443", b"example.com: 443", b"example.com:443 ",
        b"example.com:4_4", b"example.com:\xb2", b"example.com:443/", b"/", b"*", b"http://example.com:443",
        b"//example.com:443", b"user@example.com:443", b"user:password@example.com:443", b"example.com:443:443",
        b"2001:db8::1:443", b"[2001:db8::1]", b"[2001:db8::1]443", b"[2001:db8::1%25eth0]:443", b"[v1.fe]:443",
        b"[example.com]:443", b"[192.0.2.1]:443", b"exa%6dple.com:443", b"example.com,other.example:443",
    ],
)  # fmt: skip
def test_an_authority_of_another_form_is_refused(authority: bytes) -> None:
    with pytest.raises(WireError):
        read_authority(authority)
