"""The source of a session, which a balancer names, and its peer, which never changes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples, ip_texts
from tests.support.homes import Home
from trioedge.addresses.address import normalise_source
from trioedge.errors import ConfigurationError, quote
from trioedge.testing import make_session


def test_until_a_stage_moves_it_the_source_is_the_peer() -> None:
    session = make_session("192.0.2.1", port=4711)
    assert (session.source, session.source_bytes, session.source_port) == ("192.0.2.1", bytes([192, 0, 2, 1]), 4711)
    assert (session.peer, session.peer_bytes) == (session.source, session.source_bytes)


def test_a_moved_source_leaves_the_peer() -> None:
    session = make_session("192.0.2.1", port=4711)
    session.set_source("2001:DB8::7", 80)
    assert (session.source, session.source_port) == ("2001:db8::7", 80)
    assert (session.peer, session.peer_bytes) == ("192.0.2.1", bytes([192, 0, 2, 1]))
    session.set_source("198.51.100.1")
    assert (session.source, session.source_port) == ("198.51.100.1", 0)
    assert session.peer == "192.0.2.1"


def test_an_ipv4_mapped_source_is_written_as_ipv4() -> None:
    session = make_session()
    session.set_source("::ffff:198.51.100.1")
    assert (session.source, session.source_bytes) == ("198.51.100.1", bytes([198, 51, 100, 1]))


def test_a_local_socket_is_a_source_without_bytes() -> None:
    session = make_session()
    session.set_source("unix")
    assert (session.source, session.source_bytes, session.source_port) == ("unix", b"", 0)


@examples(50)
@given(st.lists(ip_texts, min_size=1, max_size=5))
def test_text_and_bytes_of_the_source_are_always_of_the_same_address(addresses: list[str]) -> None:
    session = make_session("192.0.2.1")
    for address in addresses:
        session.set_source(address)
        assert (session.source, session.source_bytes) == normalise_source(address)
    assert session.peer == "192.0.2.1"


def test_a_registered_session_is_moved_in_every_index() -> None:
    home = Home()
    shop, session = home.put("shop"), home.session("192.0.2.1", registered=True)
    session.service = shop
    session.device = "phone"
    session.set_source("198.51.100.1")
    found = home.registry.matching
    assert found(source="192.0.2.1") == found(service="shop", source="192.0.2.1") == []
    assert found(source="198.51.100.1") == found(service="shop", source="198.51.100.1") == [session]
    assert found(service="shop", device="phone") == [session]
    assert set(shop.by_source) == {bytes([198, 51, 100, 1])}
    home.registry.remove(session)
    assert found(source="198.51.100.1") == found(service="shop") == []
    assert shop.by_source == {}


def test_a_source_that_is_moved_before_the_session_is_registered_is_the_one_that_is_found() -> None:
    home = Home()
    session = home.session("192.0.2.1")
    session.set_source("198.51.100.1")
    home.registry.add(session)
    assert home.registry.matching(source="198.51.100.1") == [session]
    home.registry.remove(session)
    assert len(home.registry) == 0


@pytest.mark.parametrize("address", [None, 5, b"192.0.2.1", ["192.0.2.1"], object()])
def test_a_source_that_is_no_text_is_refused(address: Any) -> None:
    session = make_session()
    with pytest.raises(TypeError) as refusal:
        session.set_source(address)
    assert str(refusal.value) == f"session.set_source({quote(address)}) must be an IP address as text, or 'unix'"
    assert session.source == "192.0.2.1"


@pytest.mark.parametrize("address", ["", "localhost", "192.0.2.1:80", "192.0.2.0/24", "192.0.2.1\n", "x" * 100_000])
def test_a_source_that_is_no_address_is_refused_in_one_short_line(address: str) -> None:
    session = make_session()
    with pytest.raises(ConfigurationError) as refusal:
        session.set_source(address)
    message = str(refusal.value)
    assert message.startswith("session.set_source(): source '")
    assert len(message) < 400
    assert "\n" not in message
    assert (session.source, session.peer) == ("192.0.2.1", "192.0.2.1")


@pytest.mark.parametrize("port", [-1, 65_536, "80", 80.0, True, None])
def test_a_port_that_is_none_is_refused_and_the_source_stays(port: Any) -> None:
    session = make_session()
    with pytest.raises(TypeError) as refusal:
        session.set_source("198.51.100.1", port)
    assert str(refusal.value) == f"session.set_source(port={port!r}) must be a whole number from 0 to 65535"
    assert session.source == "192.0.2.1"
