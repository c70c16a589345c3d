"""The addresses on which an edge listens, as a sequence and by port."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.addresses.address import Address, parse_address
from trioedge.addresses.listening import ListeningAddresses

TEXTS = ["tcp://127.0.0.1:80", "tcp://[::1]:80", "tcp://127.0.0.1:81", "unix:///run/x.sock", "unix:///run/y.sock"]
ADDRESSES = [parse_address(text) for text in TEXTS]


def test_it_is_a_sequence_of_texts_in_the_order_in_which_they_were_added() -> None:
    listening = ListeningAddresses(ADDRESSES)
    assert [*listening] == TEXTS
    assert listening == tuple(TEXTS)
    assert listening == ListeningAddresses(ADDRESSES)
    assert listening != tuple(TEXTS[1:])
    assert listening != TEXTS[0]
    assert (len(listening), listening[0], listening[-1], listening[1:3]) == (5, TEXTS[0], TEXTS[-1], (*TEXTS[1:3],))
    assert TEXTS[2] in listening
    assert "tcp://127.0.0.1:82" not in listening
    with pytest.raises(IndexError):
        listening[5]


def test_it_follows_and_an_address_is_there_once() -> None:
    listening = ListeningAddresses()
    assert not listening
    listening.add(ADDRESSES[0])
    listening.add(ADDRESSES[0])
    assert listening == (TEXTS[0],)
    assert repr(listening) == f"<{TEXTS[0]}>"
    listening.discard(ADDRESSES[1])
    listening.discard(ADDRESSES[0])
    assert listening == ()
    assert listening.at(80) == ()
    assert repr(listening) == "<no address>"


def test_addresses_are_found_by_port_and_local_sockets_at_port_0() -> None:
    listening = ListeningAddresses(ADDRESSES)
    assert listening.at(80) == (*TEXTS[:2],)
    assert listening.at(81) == (TEXTS[2],)
    assert listening.at(0) == (*TEXTS[3:],)
    assert listening.at(82) == ()


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(ADDRESSES))))
def test_each_address_is_at_its_port_exactly_while_it_is_there(steps: list[tuple[bool, Address]]) -> None:
    listening = ListeningAddresses()
    there = dict[Address, None]()
    for adds, address in steps:
        if adds:
            listening.add(address)
            there[address] = None
        else:
            listening.discard(address)
            there.pop(address, None)
    assert [*listening] == [*map(str, there)]
    for port in (0, 80, 81):
        assert list(listening.at(port)) == [str(each) for each in there if each.port == port]
