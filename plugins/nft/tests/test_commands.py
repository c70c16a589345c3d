from ipaddress import ip_network
from typing import Any

import pytest
import trioedge as te

from trioedge_nft.commands import add_ports, ban, overlap, read_networks, set_up

FOUR, SIX = ip_network("192.0.2.7/32"), ip_network("2001:db8::/64")


def test_networks_go_into_the_set_of_their_family() -> None:
    assert ban("filter", "four", "six", [FOUR, SIX, ip_network("10.0.0.0/24")], 600) == (
        "add element inet filter four { 192.0.2.7 timeout 600s, 10.0.0.0/24 timeout 600s }\n"
        "add element inet filter six { 2001:db8::/64 timeout 600s }\n"
    )


@pytest.mark.parametrize(("networks", "sets"), [([FOUR], ["four"]), ([SIX], ["six"]), ([], [])])
def test_a_family_without_a_network_has_no_command(networks: list[Any], sets: list[str]) -> None:
    assert [line.split()[4] for line in ban("filter", "four", "six", networks, 1).splitlines()] == sets


def test_the_ports_of_tcp_listeners_are_added_once() -> None:
    listeners = ("tcp://0.0.0.0:443", "tcp://[::]:443", "tcp://127.0.0.1:80", "unix:///run/edge.sock")
    assert add_ports("trioedge", listeners) == "add element inet trioedge ports { 80, 443 }\n"


def test_an_edge_without_tcp_adds_no_port() -> None:
    assert add_ports("trioedge", ("unix:///run/edge.sock",)) == add_ports("trioedge", ()) == ""


def test_the_set_up_flushes_nothing_but_its_own_chain() -> None:
    lines = set_up("trioedge", "banned4", "banned6").splitlines()
    assert [line for line in lines if not line.startswith("add ")] == ["flush chain inet trioedge banned"]
    assert all(line.split()[2:4] == ["inet", "trioedge"] for line in lines)


def test_addresses_and_prefixes_are_read() -> None:
    read = read_networks(["192.0.2.7", "10.1.2.3/8", "2001:db8::1", "2001:db8::/32"])
    assert [str(each) for each in read] == ["192.0.2.7/32", "10.0.0.0/8", "2001:db8::1/128", "2001:db8::/32"]


@pytest.mark.parametrize("entry", ["10.0.0", "localhost", "", "10.0.0.0/33", 7, None, "1.2.3.4-1.2.3.9"])
def test_an_entry_that_is_no_network_is_refused(entry: Any) -> None:
    with pytest.raises(te.ConfigurationError) as raised:
        read_networks([entry])
    assert str(raised.value) == f"{entry!r} is no address and no prefix: write 192.0.2.7 or 10.0.0.0/8"


@pytest.mark.parametrize("entries", ["10.0.0.0/8", 7, None])
def test_entries_that_are_no_list_are_refused(entries: Any) -> None:
    with pytest.raises(te.ConfigurationError, match="is no list: write"):
        read_networks(entries)


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ("10.0.0.0/8", "10.1.2.3", True), ("10.1.2.3", "10.0.0.0/8", True), ("10.0.0.0/8", "11.0.0.0/8", False),
        ("2001:db8::/64", "2001:db8::1", True), ("0.0.0.0/0", "::/0", False),
    ],
)  # fmt: skip
def test_two_networks_have_an_address_in_common(one: str, other: str, common: bool) -> None:
    assert overlap(ip_network(one), ip_network(other)) == common
