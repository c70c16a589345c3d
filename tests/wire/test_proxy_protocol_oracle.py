"""The package proxy-protocol as an oracle: it takes more than the specification allows, and the rest as we read it."""

from ipaddress import IPv4Address, IPv6Address
from socket import SOCK_STREAM

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxyprotocol.result import ProxyResult, ProxyResultIPv4, ProxyResultIPv6, ProxyResultLocal
from proxyprotocol.tlv import ProxyProtocolTLV
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2

from tests.strategies import examples
from trioedge.wire.errors import WireError
from trioedge.wire.proxy_protocol import ProxyHeader, parse_v1, parse_v2

ports = st.integers(0, 65535)
ipv4 = st.tuples(st.ip_addresses(v=4), ports)
ipv6 = st.tuples(st.ip_addresses(v=6), ports)
tlvs = st.builds(
    ProxyProtocolTLV,
    alpn=st.none() | st.binary(min_size=1, max_size=20), authority=st.none() | st.text(min_size=1, max_size=20),
    unique_id=st.binary(max_size=128),
)  # fmt: skip


def results(tlv: st.SearchStrategy[ProxyProtocolTLV]) -> st.SearchStrategy[ProxyResult]:
    return st.one_of(
        st.builds(lambda ends, tlv: ProxyResultIPv4(*ends, protocol=SOCK_STREAM, tlv=tlv), st.tuples(ipv4, ipv4), tlv),
        st.builds(lambda ends, tlv: ProxyResultIPv6(*ends, protocol=SOCK_STREAM, tlv=tlv), st.tuples(ipv6, ipv6), tlv),
    )


def ends_of(header: ProxyHeader) -> tuple[str, int, str, int]:
    return header.source, header.source_port, header.destination, header.destination_port


def said_by(result: ProxyResult) -> tuple[str, int, str, int]:
    """Give the two ends that the oracle has read, IPv4-mapped IPv6 as IPv4."""
    if not isinstance(result, ProxyResultIPv4 | ProxyResultIPv6):
        return "", 0, "", 0
    (source, source_port), (destination, port) = result.source, result.dest
    return _plain(source), source_port or 0, _plain(destination), port or 0


def _plain(address: IPv4Address | IPv6Address) -> str:
    return str(address.ipv4_mapped or address if isinstance(address, IPv6Address) else address)


@given(results(st.just(ProxyProtocolTLV())))
@examples(300)
def test_lines_that_it_writes_are_read_as_it_reads_them(result: ProxyResult) -> None:
    line = ProxyProtocolV1().pack(result)
    if b"." in line and b"TCP6" in line:  # mapped, with dots
        with pytest.raises(WireError):
            parse_v1(line)
    else:
        assert ends_of(parse_v1(line)) == said_by(result)


@given(results(tlvs))
@examples(300)
def test_headers_that_it_writes_with_a_checksum_are_read_as_it_reads_them(result: ProxyResult) -> None:
    data = ProxyProtocolV2().pack(result)
    header = parse_v2(data)
    assert ends_of(header) == said_by(result)
    assert ProxyProtocolTLV(init=dict(header.tlvs)) == result.tlv


def test_its_connection_of_the_balancer_is_one() -> None:
    assert parse_v2(ProxyProtocolV2().pack(ProxyResultLocal())) == ProxyHeader(2, True)


@given(
    st.from_regex(
        rb"PROXY (TCP4|TCP6|UNKNOWN) [0-9a-fA-F:.]{1,40} [0-9a-fA-F:.]{1,40} [+0-9]{1,6} [+0-9]{1,6}\r\n",
        fullmatch=True,
    )
)
@examples(500)
def test_every_line_that_is_read_is_read_alike(line: bytes) -> None:
    try:
        header = parse_v1(line)
    except WireError:
        return
    assert ends_of(header) == said_by(ProxyProtocolV1().unpack(line))


@given(results(tlvs), st.data())
@examples(300)
def test_a_header_with_one_wrong_bit_is_refused_or_read_alike(result: ProxyResult, choose: st.DataObject) -> None:
    data = bytearray(ProxyProtocolV2().pack(result))
    at = choose.draw(st.integers(0, 8 * len(data) - 1))
    data[at // 8] ^= 1 << at % 8
    try:
        header = parse_v2(bytes(data))
    except WireError:
        return
    # Only the command and the family are read before the checksum, and some say that the rest does not matter.
    assert header in (ProxyHeader(2), ProxyHeader(2, True)) or attrs.evolve(header, tlvs=()) == ProxyHeader(
        2, False, *said_by(ProxyProtocolV2().unpack(bytes(data)))
    )
