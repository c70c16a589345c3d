from trioedge.session.source_keys import key_of
from trioedge.testing import make_session


def test_a_session_has_the_keys_of_its_source_and_its_peer() -> None:
    session = make_session("2001:db8::1:2:3:4")
    peer = bytes.fromhex("20010db8000000000000000000000000")
    for per in ("source", "peer"):
        key = key_of(per, None)
        assert key is not None
        assert key(session) == peer
    session.set_source("192.0.2.7")
    of_source, of_peer = key_of("source", None), key_of("peer", None)
    assert of_source is not None
    assert of_peer is not None
    assert (of_source(session), of_peer(session)) == (bytes([192, 0, 2, 7]), peer)
    assert key_of("service", None) is None


def test_a_finer_key_has_more_bits_of_ipv6_and_the_edges_of_ipv4() -> None:
    session = make_session("2001:db8::1:2:3:4")
    whole, longer = key_of("source/128", 128), key_of("peer/80", 80)
    assert whole is not None
    assert longer is not None
    assert whole(session) == session.source_bytes
    assert longer(session) == bytes.fromhex("20010db8000000000001000000000000")
    session.set_source("192.0.2.7")
    assert whole(session) == bytes([192, 0, 2, 7])
