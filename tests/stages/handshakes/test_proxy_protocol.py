import pytest
from hypothesis import given
from hypothesis import strategies as st

import trioedge as te
from tests.strategies import examples
from trioedge.testing import check_handshake, converse, make_session
from trioedge.testing.handshakes import Conversed
from trioedge.wire.proxy_protocol import MAX_V2_BYTES, V2_START, ProxyHeader, write_header

BALANCER = "10.0.0.5"
STAGE = te.ProxyProtocol(["10.0.0.0/8", "2001:db8:1b::/64", "unix"])
UNTRUSTED = te.Reject(te.Reason.SOURCE, "the peer is no trusted balancer")

V1 = ProxyHeader(1, False, "192.0.2.7", 4000, "198.51.100.1", 443)
V1_IPV6 = ProxyHeader(1, False, "2001:db8::7", 4000, "2001:db8::1", 443)
V2 = ProxyHeader(2, False, "192.0.2.7", 4000, "198.51.100.1", 443, ((2, b"a.example"),))
V2_IPV6 = ProxyHeader(2, False, "2001:db8::7", 4000, "2001:db8::1", 443)

NAMED = [V1, V1_IPV6, V2, V2_IPV6]
UNNAMED = [ProxyHeader(1), ProxyHeader(2), ProxyHeader(2, True)]
LONG = ProxyHeader(2, False, "192.0.2.7", 4000, "198.51.100.1", 443, ((0xE0, bytes(MAX_V2_BYTES - 31)),))


def every_way(data: bytes, behind: bytes = b"") -> list[tuple[str, Conversed, te.Session]]:
    """Give the same bytes to the stage whole, byte by byte, and cut at each place."""
    cuts = [[data + behind], [data[at : at + 1] for at in range(len(data))] + [behind]]
    if len(data) < 300:
        cuts += [[data[:at], data[at:] + behind] for at in range(1, len(data))]
    talks = []
    for number, pieces in enumerate(cuts):
        session = make_session(BALANCER, port=9)
        talks.append((str(number), converse(STAGE, session, *pieces), session))
    return talks


@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n\r\n", b"PROXY UNKNOWN\r\n"])
@pytest.mark.parametrize("header", [*NAMED, LONG], ids=str)
def test_a_named_client_is_the_source_however_its_bytes_come_and_what_is_behind_them_is_left(
    header: ProxyHeader, behind: bytes
) -> None:
    for way, said, session in every_way(write_header(header), behind):
        assert (said.verdict, said.left) == (te.CONTINUE, behind), way
        assert (session.source, session.source_port) == (header.source, 4000)
        assert (session.peer, session.state[te.ProxyHeader]) == (BALANCER, header)


@pytest.mark.parametrize("header", UNNAMED, ids=str)
def test_a_header_without_a_client_keeps_the_balancer_as_the_source(header: ProxyHeader) -> None:
    for way, said, session in every_way(write_header(header), b"more"):
        assert (said.verdict, said.left) == (te.CONTINUE, b"more"), way
        assert (session.source, session.source_port, session.peer) == (BALANCER, 9, BALANCER)
        assert session.state[te.ProxyHeader] == header


@pytest.mark.parametrize("ends", [("unix", "unix"), ("unix:///run/client.sock", "unix:///run/lb.sock")])
def test_a_client_of_a_local_socket_is_one(ends: tuple[str, str]) -> None:
    header = ProxyHeader(2, False, ends[0], 0, ends[1], 0)
    session = make_session(BALANCER)
    assert converse(STAGE, session, write_header(header)).verdict is te.CONTINUE
    assert (session.source, session.source_bytes, session.source_port) == ("unix", b"", 0)
    assert session.state[te.ProxyHeader] == header


def test_it_keeps_what_drivers_rely_on() -> None:
    headers = [write_header(header) for header in [*NAMED, *UNNAMED]]
    check_handshake(STAGE, headers, session=lambda: make_session(BALANCER))


WRONG = {
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "a wrong letter": b"PROXX",
    "small letters": b"proxy TCP4 192.0.2.7 198.51.100.1 4000 443\r\n",
    "a wrong port": b"PROXY TCP4 192.0.2.7 198.51.100.1 04000 443\r\n",
    "a mapped address with dots": b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4000 443\r\n",
    "an end of one letter": b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\nGET / HTTP/1.1\r\n",
    "no end": b"PROXY TCP4 ".ljust(107, b"1"),
    "no end of an unknown": b"PROXY UNKNOWN ".ljust(107, b"x"),
    "a line of 108 bytes": b"PROXY UNKNOWN ".ljust(106, b"x") + b"\r\n",
    "a wrong signature": V2_START[:-1] + b"\r",
    "version 3": V2_START + b"\x31\x11\0\x0c" + bytes(12),
    "a wrong command": V2_START + b"\x22\x11\0\x0c",
    "a wrong family": V2_START + b"\x21\x41\0\x0c" + bytes(12),
    "datagrams": V2_START + b"\x21\x12\0\x0c" + bytes(12),
    "short addresses": V2_START + b"\x21\x11\0\x0b" + bytes(11),
    "a TLV that is cut short": V2_START + b"\x21\x11\0\x0f" + bytes(14) + b"\x01",
    "a wrong checksum": V2_START + b"\x21\x11\0\x13" + bytes(12) + b"\x03\0\x04\1\2\3\4",
    "more than 4,096 bytes": V2_START + b"\x21\x11\xff\xff",
}  # fmt: skip


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_bytes_that_deviate_are_refused_at_their_last_byte_however_they_come(data: bytes) -> None:
    for way, said, session in every_way(data):
        assert isinstance(said.verdict, te.Reject), way
        assert said.verdict.reason is te.Reason.PROTOCOL
        assert data[-4:].decode("latin-1") not in said.verdict.detail
        assert session.source == BALANCER
        assert te.ProxyHeader not in session.state


@pytest.mark.parametrize("data", [b"G", b"\x16", b"PX", b"\r\n\r\r", b"PROXYX"])
def test_bytes_that_can_be_no_header_any_more_are_not_waited_upon(data: bytes) -> None:
    assert converse(STAGE, make_session(BALANCER), data).verdict == te.Reject(te.Reason.PROTOCOL, "no PROXY header")


@pytest.mark.parametrize("data", [b"", b"P", b"PROXY ", b"PROXY TCP4 1.2.3.4", b"\r", V2_START, write_header(V2)[:-1]])
def test_half_a_header_is_waited_upon(data: bytes) -> None:
    said = converse(STAGE, make_session(BALANCER), data)
    assert (said.verdict, said.left.endswith(data[-1:])) == (None, True)


@pytest.mark.parametrize("peer", ["192.0.2.1", "11.0.0.5", "2001:db8:1c::1"])
def test_a_peer_that_is_not_trusted_is_refused_before_its_first_byte(peer: str) -> None:
    session = make_session(peer)
    said = converse(STAGE, session, write_header(V1))
    assert (said.verdict, said.left) == (UNTRUSTED, write_header(V1))
    assert session.source == peer


@pytest.mark.parametrize("header", [*NAMED, *UNNAMED], ids=str)
def test_a_peer_that_is_not_trusted_can_name_no_client_where_others_are_plain(header: ProxyHeader) -> None:
    session = make_session("192.0.2.1", port=9)
    said = converse(te.ProxyProtocol(["10.0.0.0/8"], otherwise="plain"), session, write_header(header))
    assert (said.verdict, said.left) == (te.CONTINUE, write_header(header))
    assert (session.source, session.source_port) == ("192.0.2.1", 9)
    assert te.ProxyHeader not in session.state


def test_a_trusted_peer_must_send_a_header_also_where_others_are_plain() -> None:
    stage = te.ProxyProtocol(["10.0.0.0/8"], otherwise="plain")
    said = converse(stage, make_session(BALANCER), b"GET / HTTP/1.1\r\n")
    assert said.verdict == te.Reject(te.Reason.PROTOCOL, "no PROXY header")


@pytest.mark.parametrize("peer", [BALANCER, "::ffff:10.0.0.5", "2001:db8:1b::9", "unix"])
def test_a_trusted_peer_may_be_of_any_family(peer: str) -> None:
    session = make_session(peer)
    assert converse(STAGE, session, write_header(V1)).verdict is te.CONTINUE
    assert session.source == "192.0.2.7"


def test_the_peer_is_trusted_and_not_the_source_that_an_earlier_stage_has_named() -> None:
    session = make_session("192.0.2.1")
    session.set_source(BALANCER)
    assert converse(STAGE, session, write_header(V1)).verdict == UNTRUSTED


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2_START, V2_START + b"\x21\x11\0"]))
@examples(300)
def test_any_bytes_have_the_same_verdict_whole_and_byte_by_byte(data: bytes, start: bytes) -> None:
    data = start + data
    whole = converse(STAGE, make_session(BALANCER), data)
    dripped = converse(STAGE, make_session(BALANCER), *(data[at : at + 1] for at in range(len(data))))
    assert whole.verdict == dripped.verdict
    if whole.verdict is te.CONTINUE:
        assert whole.left == dripped.left


@pytest.mark.parametrize(
    ("trusted", "words"),
    [
        ([], "names no balancer: write trusted=['10.0.0.0/8']"),
        ("10.0.0.0/8", "trusted='10.0.0.0/8' must be a list of entries: write ['10.0.0.0/8']"),
        (5, "trusted=5 must be a list"),
        (None, "trusted=None must be a list"),
        (["10.0.0.0/8", "lb.example"], "trusted[1] = 'lb.example' is not an address"),
        (["10.0.0.0/99"], "trusted[0] = '10.0.0.0/99' is not an address"),
    ],
)
def test_addresses_that_cannot_be_read_are_refused_with_their_place(trusted: object, words: str) -> None:
    with pytest.raises(te.ConfigurationError) as raised:
        te.ProxyProtocol(trusted)  # type: ignore[arg-type]
    assert str(raised.value).startswith("ProxyProtocol")
    assert words in str(raised.value)


def test_there_is_no_default_that_trusts_a_peer() -> None:
    with pytest.raises(TypeError, match="trusted"):
        te.ProxyProtocol()  # type: ignore[call-arg]


def test_another_word_for_the_others_is_refused() -> None:
    with pytest.raises(te.ConfigurationError, match="must be 'refuse' or 'plain'"):
        te.ProxyProtocol(["10.0.0.0/8"], otherwise="accept")  # type: ignore[arg-type]


def test_addresses_may_come_from_an_iterator() -> None:
    stage = te.ProxyProtocol(iter(["10.0.0.0/8", "unix"]), otherwise="plain")
    assert repr(stage) == "ProxyProtocol(2 trusted, otherwise='plain')"
    assert repr(STAGE) == "ProxyProtocol(3 trusted)"


def test_it_cannot_be_changed_once_it_is_made() -> None:
    with pytest.raises(AttributeError):
        STAGE.max_bytes = 5


def test_a_chain_has_one_and_reads_the_source_behind_it() -> None:
    forward = te.Forward("tcp://192.0.2.9:80")
    with pytest.raises(te.ConfigurationError, match="ProxyProtocol"):
        te.Edge("tcp://127.0.0.1:0", [STAGE, STAGE], forward)
    with pytest.raises(te.ConfigurationError, match="source"):
        te.Edge("tcp://127.0.0.1:0", [te.SourceMatch(accept=["192.0.2.0/24"]), STAGE], forward)
    balancers = te.SourceMatch(accept=["10.0.0.0/8"], of="peer")
    te.Edge("tcp://127.0.0.1:0", [balancers, STAGE, te.SessionGate(rate=9)], forward)
