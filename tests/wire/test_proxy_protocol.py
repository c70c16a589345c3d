"""Headers of the PROXY protocol: those that the specification has, and those that it has not."""

from contextlib import suppress
from ipaddress import IPv6Address

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.wire.crc32c import crc32c
from trioedge.wire.errors import WireError
from trioedge.wire.proxy_protocol import (
    MAX_V1_BYTES,
    MAX_V2_BYTES,
    V2_START,
    ProxyHeader,
    parse_v1,
    parse_v2,
    v2_size,
    write_header,
)

LONGEST_IPV6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
IPV4 = bytes([192, 168, 0, 1, 192, 168, 0, 11]) + (56324).to_bytes(2) + (443).to_bytes(2)
IPV6 = bytes.fromhex("20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02") + (56324).to_bytes(2) + b"\x01\xbb"


def v2(command: int, family: int, rest: bytes = b"", *, length: int | None = None) -> bytes:
    """Write a header of version 2 byte by byte."""
    return V2_START + bytes([command, family]) + (len(rest) if length is None else length).to_bytes(2) + rest


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2) + value


def checked(command: int, family: int, rest: bytes) -> bytes:
    """Write a header that ends with its checksum (section 2.2.3)."""
    zeros = v2(command, family, rest + tlv(3, bytes(4)))
    return zeros[:-4] + crc32c(zeros).to_bytes(4)


@pytest.mark.parametrize(
    ("line", "header"),
    [
        # The example of section 2.1, and its longest lines.
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443",
            ProxyHeader(1, False, "192.168.0.1", 56324, "192.168.0.11", 443),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535",
            ProxyHeader(1, False, "255.255.255.255", 65535, "255.255.255.255", 65535),
        ),
        (
            f"PROXY TCP6 {LONGEST_IPV6} {LONGEST_IPV6} 65535 65535",
            ProxyHeader(1, False, LONGEST_IPV6, 65535, LONGEST_IPV6, 65535),
        ),
        ("PROXY UNKNOWN", ProxyHeader(1)),
        (f"PROXY UNKNOWN {LONGEST_IPV6} {LONGEST_IPV6} 65535 65535", ProxyHeader(1)),
        # The ends of the ranges.
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0", ProxyHeader(1, False, "0.0.0.0", 0, "0.0.0.0", 0)),
        ("PROXY TCP6 :: ::1 0 1", ProxyHeader(1, False, "::", 0, "::1", 1)),
        # Hexadecimal digits of either case, written out or not.
        (
            "PROXY TCP6 2001:DB8::A 2001:0db8:0000:0000:0000:0000:0000:000b 1 2",
            ProxyHeader(1, False, "2001:db8::a", 1, "2001:db8::b", 2),
        ),
        (
            "PROXY TCP6 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1 2",
            ProxyHeader(1, False, "1:2:3:4:5:6:7:0", 1, "0:2:3:4:5:6:7:8", 2),
        ),
        # An IPv4 address that is mapped is that address.
        ("PROXY TCP6 ::ffff:c000:207 ::1 1 2", ProxyHeader(1, False, "192.0.2.7", 1, "::1", 2)),
        # Whatever follows UNKNOWN is ignored.
        ("PROXY UNKNOWN ", ProxyHeader(1)),
        ("PROXY UNKNOWN TCP4 999.1.1.1 -1 \x00\xff", ProxyHeader(1)),
    ],
)
def test_a_line_of_version_1_is_read(line: str, header: ProxyHeader) -> None:
    assert parse_v1(line.encode("latin-1") + b"\r\n") == header


WRONG_LINES = [
    "",
    "PROXY",
    "PROXY ",
    "PROXY TCP4",
    "proxy TCP4 1.2.3.4 5.6.7.8 1 2",
    "PROXY tcp4 1.2.3.4 5.6.7.8 1 2",
    "PROXY unknown",
    "PROXY UNKNOWNS",
    "PROXY TCP 1.2.3.4 5.6.7.8 1 2",
    "PROXY TCP5 1.2.3.4 5.6.7.8 1 2",
    "PROXY UDP4 1.2.3.4 5.6.7.8 1 2",
    "PROXY UNIX /a /b 0 0",
    " PROXY TCP4 1.2.3.4 5.6.7.8 1 2",
    "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2",
    "PROXY TCP4  1.2.3.4 5.6.7.8 1 2",
    "PROXY TCP4 1.2.3.4  5.6.7.8 1 2",
    "PROXY TCP4 1.2.3.4 5.6.7.8  1 2",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1  2",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ",
    "PROXY\tTCP4\t1.2.3.4\t5.6.7.8\t1\t2",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1",
    "PROXY TCP4 1.2.3.4 5.6.7.8",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
    "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\0",
    # Ports.
    *(
        f"PROXY TCP4 1.2.3.4 5.6.7.8 {ports}"
        for port in [
            "65536", "70000", "99999", "100000", "00", "01", "080", "+1", "-1", "1.0", "0x1", "1_0", "\uff11", "²", "",
        ]
        for ports in (f"{port} 2", f"1 {port}")
    ),
    # IPv4 addresses.
    *(
        f"PROXY TCP4 {ends} 1 2"
        for address in [
            "256.1.1.1", "1.1.1.256", "1.1.1.1000", "01.2.3.4", "1.2.3.04", "1.2.3.00", "1.2.3", "1.2.3.4.5", "1.2.3.",
            ".1.2.3", "1..2.3", "1.2.3.x", "0x1.2.3.4", "+1.2.3.4", "-1.2.3.4", "16909060", "1.2.3.4/32", "localhost",
            "::ffff:1.2.3.4", "::1", "1.2.3.٤", "260.1.1.1", "300.1.1.1",
        ]
        for ends in (f"{address} 5.6.7.8", f"5.6.7.8 {address}")
    ),
    # IPv6 addresses.
    *(
        f"PROXY TCP6 {ends} 1 2"
        for address in [
            "1.2.3.4", "::ffff:1.2.3.4", "::1.2.3.4", "::1%eth0", "::1%1", "[::1]", "1:2:3:4:5:6:7", ":::", ":",
            "1:2:3:4:5:6:7:8:9", "1::2::3", "1:2:3:4:5:6:7:8::", "12345::", "g::1", "::1/128", ":1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:", "1:2:3:4:5:6:7::8", "::-1", "::+1", "0x1::",
        ]
        for ends in (f"{address} ::2", f"::2 {address}")
    ),
    "PROXY TCP4 1.2.3.4 ::1 1 2",
    "PROXY TCP6 ::1 1.2.3.4 1 2",
    # No line end within 107 bytes, or another one.
    "PROXY UNKNOWN " + "x" * (MAX_V1_BYTES - len("PROXY UNKNOWN \r\n") + 1),
    "PROXY UNKNOWN x\nGET / HTTP/1.1",
    "PROXY UNKNOWN x\rGET / HTTP/1.1",
    "PROXY UNKNOWN\n",
    "GET / HTTP/1.1",
]  # fmt: skip


@pytest.mark.parametrize("line", WRONG_LINES)
def test_a_line_that_deviates_is_refused(line: str) -> None:
    with pytest.raises(WireError):
        parse_v1(line.encode() + b"\r\n")


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\n\r", b"\r\n\r\n", b"\r\nx"])
def test_a_line_with_another_end_is_refused(end: bytes) -> None:
    with pytest.raises(WireError):
        parse_v1(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2" + end)
    with pytest.raises(WireError):
        parse_v1(b"PROXY UNKNOWN" + end)


def test_the_longest_line_of_an_unknown_protocol_has_107_bytes() -> None:
    line = b"PROXY UNKNOWN ".ljust(MAX_V1_BYTES - 2, b"x") + b"\r\n"
    assert parse_v1(line) == ProxyHeader(1)


PATHS = b"/run/client.sock".ljust(108, b"\0") + b"/run/edge.sock".ljust(108, b"\0")

UNIX = ProxyHeader(2, False, "unix:///run/client.sock", 0, "unix:///run/edge.sock", 0)
TCP4 = ProxyHeader(2, False, "192.168.0.1", 56324, "192.168.0.11", 443)


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (v2(0x21, 0x11, IPV4), TCP4),
        (v2(0x21, 0x21, IPV6), ProxyHeader(2, False, "2001:db8::1", 56324, "2001:db8::2", 443)),
        (v2(0x21, 0x31, PATHS), UNIX),
        (v2(0x21, 0x31, bytes(216)), ProxyHeader(2, False, "unix", 0, "unix", 0)),
        (v2(0x21, 0x31, b"/" * 216), ProxyHeader(2, False, "unix://" + "/" * 108, 0, "unix://" + "/" * 108, 0)),
        (v2(0x21, 0x31, b"\xff\0x".ljust(216, b"\0")), ProxyHeader(2, False, "unix", 0, "unix", 0)),
        (
            v2(0x21, 0x21, bytes(10) + b"\xff\xff\xc0\0\2\7" + bytes(15) + b"\1" + bytes(4)),
            ProxyHeader(2, False, "192.0.2.7", 0, "::1", 0),
        ),
        # The protocol byte that every receiver takes; what follows it is ignored.
        (v2(0x21, 0x00), ProxyHeader(2)),
        (v2(0x21, 0x00, b"\x03\xff"), ProxyHeader(2)),
        # A connection of the balancer's own: its block is skipped, its family ignored.
        (v2(0x20, 0x00), ProxyHeader(2, True)),
        (v2(0x20, 0x11, IPV4), ProxyHeader(2, True)),
        (v2(0x20, 0x12, b"short"), ProxyHeader(2, True)),
        (v2(0x20, 0xFF, tlv(3, b"wrong")), ProxyHeader(2, True)),
        # TLVs.
        (v2(0x21, 0x11, IPV4 + tlv(0x01, b"h2")), attrs.evolve(TCP4, tlvs=((0x01, b"h2"),))),
        (
            v2(0x21, 0x11, IPV4 + tlv(0x02, b"a.example") + tlv(0xEE, b"") + tlv(0x02, b"b.example")),
            attrs.evolve(TCP4, tlvs=((0x02, b"a.example"), (0xEE, b""), (0x02, b"b.example"))),
        ),
        (
            v2(0x21, 0x11, IPV4 + tlv(0x20, b"\x01\0\0\0\0" + tlv(0x21, b"TLSv1.3"))),
            attrs.evolve(TCP4, tlvs=((0x20, b"\x01\0\0\0\0\x21\0\x07TLSv1.3"),)),
        ),
        (v2(0x21, 0x11, IPV4 + tlv(0x04, b"") + tlv(0x04, bytes(9))), TCP4),
        (v2(0x21, 0x11, IPV4 + tlv(0x05, b"i" * 128)), attrs.evolve(TCP4, tlvs=((0x05, b"i" * 128),))),
        (checked(0x21, 0x11, IPV4), TCP4),
        (checked(0x21, 0x31, PATHS + tlv(1, b"h2")), attrs.evolve(UNIX, tlvs=((1, b"h2"),))),
        (
            v2(0x21, 0x11, IPV4 + tlv(0xE0, bytes(MAX_V2_BYTES - 16 - 12 - 3))),
            attrs.evolve(TCP4, tlvs=((0xE0, bytes(MAX_V2_BYTES - 16 - 12 - 3)),)),
        ),
    ],
)  # fmt: skip
def test_a_header_of_version_2_is_read(data: bytes, header: ProxyHeader) -> None:
    assert v2_size(data[:16]) == len(data)
    assert parse_v2(data) == header


def test_a_checksum_is_that_of_the_header_with_zeros_in_its_place_wherever_it_stands() -> None:
    zeros = v2(0x21, 0x11, IPV4 + tlv(3, bytes(4)) + tlv(2, b"a.example"))
    data = zeros[:31] + crc32c(zeros).to_bytes(4) + zeros[35:]
    assert parse_v2(data).tlvs == ((2, b"a.example"),)


def test_the_checksum_of_haproxy_is_right() -> None:
    # Sent by HAProxy 2.6 with `send-proxy-v2 proxy-v2-options crc32c,unique-id`.
    data = bytes.fromhex("0d0a0d0a000d0a515549540a 21110016 7f0000017f000001 b3384971 030004 2a88b872 050000")
    assert parse_v2(data) == ProxyHeader(2, False, "127.0.0.1", 45880, "127.0.0.1", 18801, ((5, b""),))


WRONG_HEADERS = {
    "nothing": b"",
    "half a signature": V2_START[:7],
    "a signature alone": V2_START,
    "no length": V2_START + b"\x21\x11",
    "another signature": b"\r\n\r\n\0\r\nQUIT\r" + bytes([0x21, 0x11, 0, 12]) + IPV4,
    "version 1": v2(0x11, 0x11, IPV4),
    "version 3": v2(0x31, 0x11, IPV4),
    "version 0": v2(0x01, 0x11, IPV4),
    **{f"command {command}": v2(0x20 | command, 0x11, IPV4) for command in range(2, 16)},
    **{f"family {family}": v2(0x21, family << 4 | 1, bytes(216)) for family in (0, *range(4, 16))},
    **{f"transport {transport}": v2(0x21, 0x10 | transport, IPV4) for transport in (0, *range(3, 16))},
    "transport 2 of no family": v2(0x21, 0x02),
    "no transport of IPv6": v2(0x21, 0x20, IPV6),
    "no transport of local sockets": v2(0x21, 0x30, PATHS),
    "datagrams over IPv4": v2(0x21, 0x12, IPV4),
    "datagrams over IPv6": v2(0x21, 0x22, IPV6),
    "datagrams over local sockets": v2(0x21, 0x32, PATHS),
    "no addresses": v2(0x21, 0x11),
    "a byte too few of IPv4": v2(0x21, 0x11, IPV4[:-1]),
    "a byte too few of IPv6": v2(0x21, 0x21, IPV6[:-1]),
    "a byte too few of paths": v2(0x21, 0x31, PATHS[:-1]),
    "IPv4 as IPv6": v2(0x21, 0x21, IPV4),
    "fewer bytes than it says": v2(0x21, 0x11, IPV4, length=13),
    "more bytes than it says": v2(0x21, 0x11, IPV4, length=11),
    "a byte behind it": v2(0x21, 0x11, IPV4) + b"x",
    "a byte behind a connection of its own": v2(0x20, 0x00) + b"x",
    "a type alone": v2(0x21, 0x11, IPV4 + b"\x01"),
    "half a length": v2(0x21, 0x11, IPV4 + b"\x01\0"),
    "a value that is cut short": v2(0x21, 0x11, IPV4 + b"\x01\0\x03h2"),
    "a value behind another that is cut short": v2(0x21, 0x11, IPV4 + tlv(1, b"h2") + b"\x02\xff\xff"),
    "padding that is cut short": v2(0x21, 0x11, IPV4 + b"\x04\0\x01"),
    "a unique id of 129 bytes": v2(0x21, 0x11, IPV4 + tlv(5, bytes(129))),
    "a wrong checksum": v2(0x21, 0x11, IPV4 + tlv(3, b"\1\2\3\4")),
    "a checksum of zeros": v2(0x21, 0x11, IPV4 + tlv(3, bytes(4))),
    "an empty checksum": v2(0x21, 0x11, IPV4 + tlv(3, b"")),
    "a checksum of 5 bytes": checked(0x21, 0x11, IPV4)[:14] + b"\0\x14" + IPV4 + tlv(3, bytes(5)),
    "more than the bound": v2(0x21, 0x11, IPV4 + tlv(0xE0, bytes(MAX_V2_BYTES - 16 - 12 - 3 + 1))),
    "a connection of its own with more than the bound": v2(0x20, 0x00, bytes(MAX_V2_BYTES - 15)),
}


@pytest.mark.parametrize("data", WRONG_HEADERS.values(), ids=WRONG_HEADERS)
def test_a_header_of_version_2_that_deviates_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_v2(data)


def test_two_checksums_are_refused() -> None:
    once = checked(0x21, 0x11, IPV4 + tlv(3, bytes(4)))
    with pytest.raises(WireError):
        parse_v2(once)


def test_the_size_of_a_header_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(WireError, match="more than 4,096 bytes"):
        v2_size(v2(0x21, 0x11, length=65535))
    with pytest.raises(WireError):
        v2_size(V2_START + b"\x22\x11\0\x0c")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_a_wire_error(data: bytes) -> None:
    for parse, whole in (
        (parse_v1, data),
        (parse_v1, b"PROXY TCP6 " + data),
        (parse_v2, data),
        (parse_v2, v2(0x21, 0x11, data)),
    ):
        with suppress(WireError):
            parse(whole)


ports = st.integers(0, 65535)
ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.integers(1 << 49, (1 << 128) - 1).map(lambda number: str(IPv6Address(number)))  # above the mapped ones
paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=27)
local = st.one_of(st.just("unix"), paths.filter(bool).map("unix://{}".format))
tlvs = st.lists(
    st.tuples(st.integers(0, 255).filter(lambda kind: kind not in (3, 4)), st.binary(max_size=128)), max_size=5
).map(tuple)


@given(
    st.one_of(st.tuples(ipv4, ipv4), st.tuples(ipv6, ipv6), st.tuples(ipv4, ipv6), st.tuples(ipv6, ipv4)), ports, ports
)
@examples(300)
def test_what_is_written_as_version_1_is_read_again(ends: tuple[str, str], source_port: int, port: int) -> None:
    header = ProxyHeader(1, False, ends[0], source_port, ends[1], port)
    written = write_header(header)
    assert len(written) <= MAX_V1_BYTES
    assert parse_v1(written) == header


@given(
    st.one_of(st.tuples(ipv4, ipv4), st.tuples(ipv6, ipv6), st.tuples(ipv4, ipv6), st.tuples(ipv6, ipv4)),
    ports, ports, tlvs,
)  # fmt: skip
@examples(300)
def test_what_is_written_as_version_2_is_read_again(
    ends: tuple[str, str], source_port: int, port: int, parts: tuple[tuple[int, bytes], ...]
) -> None:
    header = ProxyHeader(2, False, ends[0], source_port, ends[1], port, parts)
    assert parse_v2(write_header(header)) == header


@given(local, local, tlvs)
@examples(200)
def test_local_sockets_are_written_and_read_again(
    source: str, destination: str, parts: tuple[tuple[int, bytes], ...]
) -> None:
    header = ProxyHeader(2, False, source, 0, destination, 0, parts)
    assert parse_v2(write_header(header)) == header


@pytest.mark.parametrize(
    ("header", "written"),
    [
        (ProxyHeader(1, False, "192.0.2.7", 4000, "192.0.2.1", 443), b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n"),
        (ProxyHeader(1, False, "2001:db8::7", 4000, "::1", 443), b"PROXY TCP6 2001:db8::7 ::1 4000 443\r\n"),
        (ProxyHeader(1, False, "192.0.2.7", 4000, "::1", 443), b"PROXY TCP6 ::ffff:c000:0207 ::1 4000 443\r\n"),
        (ProxyHeader(1, False, "unix", 0, "unix:///run/edge.sock", 0), b"PROXY UNKNOWN\r\n"),
        (ProxyHeader(1, False, "192.0.2.7", 4000, "unix", 0), b"PROXY UNKNOWN\r\n"),
        (ProxyHeader(1), b"PROXY UNKNOWN\r\n"),
        (TCP4, v2(0x21, 0x11, IPV4)),
        (UNIX, v2(0x21, 0x31, PATHS)),
        (ProxyHeader(2, False, "unix", 0, "192.0.2.1", 443), v2(0x21, 0x00)),
        (ProxyHeader(2, False, "192.0.2.7", 4000, "unix", 0), v2(0x21, 0x00)),
        (ProxyHeader(2), v2(0x21, 0x00)),
        (ProxyHeader(2, True), v2(0x20, 0x00)),
    ],
)
def test_a_header_is_written_as_the_specification_has_it(header: ProxyHeader, written: bytes) -> None:
    assert write_header(header) == written


@pytest.mark.parametrize(
    "header",
    [
        ProxyHeader(1, False, "localhost", 1, "192.0.2.1", 2),
        ProxyHeader(2, False, "192.0.2.1", 1, "example.org", 2),
        ProxyHeader(2, False, "unix://" + "/" * 109, 0, "unix", 0),
        ProxyHeader(2, True, tlvs=((0xE0, bytes(MAX_V2_BYTES)),)),
    ],
)
def test_a_header_that_cannot_be_written_is_refused(header: ProxyHeader) -> None:
    with pytest.raises(WireError):
        write_header(header)


def test_a_header_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        TCP4.source = "192.0.2.7"  # type: ignore[misc]
