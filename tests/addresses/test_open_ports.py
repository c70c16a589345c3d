"""Which listeners a policy may name: spellings, overlaps and ranges of ports."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.addresses.address import Address
from trioedge.addresses.open_ports import OpenPorts, listener_address, overlap, parse_open_ports
from trioedge.errors import ConfigurationError

hosts = st.ip_addresses().map(lambda ip: f"[{ip}]" if ip.version == 6 else str(ip))
ports = st.integers(1, 65_535)


def opened(value: Any) -> OpenPorts:
    found = parse_open_ports(value)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("tcp://192.0.2.1:20001", "tcp://192.0.2.1:20001"),
        ("  tcp://[2001:DB8:0::1]:00080", "tcp://[2001:db8::1]:80"),
        ("tcp://[0:0:0:0:0:0:0:0]:1", "tcp://[::]:1"),
        ("tcp://[::ffff:192.0.2.1]:65535", "tcp://192.0.2.1:65535"),
        ("tcp://[FE80::1%eth0]:7", "tcp://[fe80::1%eth0]:7"),
    ],
)
def test_two_spellings_of_a_listener_are_one_address(text: str, canonical: str) -> None:
    address = listener_address(text)
    assert str(address) == canonical
    assert listener_address(canonical) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("unix:///run/edge.sock", "it is a local socket, and a control plane may not make files here: write tcp://"),
        ("systemd:web", "systemd opens it before a control plane can name it: write tcp://"),
        ("tcp://localhost:80", "'localhost' is a name, and to resolve it would block the edge: write its address, or"),
        ("tcp://0.0.0.0:0", "port 0 is another one each time: write the port that clients connect to"),
        ("0.0.0.0:80", "address '0.0.0.0:80' must begin with tcp:// or unix://: write 'tcp://0.0.0.0:80'"),
        (20001, "address 20001 is not text: write 'tcp://127.0.0.1:20001'"),
    ],
)
def test_what_is_no_listener_says_what_to_write(text: Any, why: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        listener_address(text)
    assert str(raised.value).startswith(why)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("tcp://192.0.2.1:80", "tcp://192.0.2.1:80", True),
        ("tcp://192.0.2.1:80", "tcp://192.0.2.1:81", False),
        ("tcp://192.0.2.1:80", "tcp://192.0.2.2:80", False),
        ("tcp://0.0.0.0:80", "tcp://192.0.2.2:80", True),
        ("tcp://0.0.0.0:80", "tcp://[2001:db8::1]:80", False),
        ("tcp://[::]:80", "tcp://192.0.2.2:80", True),
        ("tcp://[::]:80", "tcp://0.0.0.0:80", True),
        ("tcp://[::]:80", "tcp://[2001:db8::1]:80", True),
        ("tcp://[fe80::1%a]:80", "tcp://[fe80::1%b]:80", False),
    ],
)
def test_listeners_overlap_where_one_has_the_clients_of_the_other(one: str, other: str, both: bool) -> None:
    first, second = listener_address(one), listener_address(other)
    assert overlap(first, second) is overlap(second, first) is both


@pytest.mark.parametrize(
    ("given_ports", "address", "allowed"),
    [
        ("tcp://0.0.0.0:20000-29999", "tcp://0.0.0.0:20000", True),
        ("tcp://0.0.0.0:20000-29999", "tcp://192.0.2.1:29999", True),
        ("tcp://0.0.0.0:20000-29999", "tcp://192.0.2.1:19999", False),
        ("tcp://0.0.0.0:20000-29999", "tcp://192.0.2.1:30000", False),
        ("tcp://0.0.0.0:20000-29999", "tcp://[::]:20000", False),
        ("tcp://[::]:20000-29999", "tcp://[::]:20000", True),
        ("tcp://[::]:20000-29999", "tcp://192.0.2.1:20000", True),
        ("tcp://127.0.0.1:3000", "tcp://127.0.0.1:3000", True),
        ("tcp://127.0.0.1:3000", "tcp://127.0.0.1:3001", False),
        ("tcp://127.0.0.1:3000", "tcp://0.0.0.0:3000", False),
        (["tcp://127.0.0.1:3000", "tcp://127.0.0.2:1-9"], "tcp://127.0.0.2:9", True),
    ],
)
def test_a_wildcard_allows_every_address_of_its_family_and_an_address_itself(
    given_ports: Any, address: str, allowed: bool
) -> None:
    assert opened(given_ports).allow(listener_address(address)) is allowed


@given(hosts, ports, ports)
def test_every_port_of_a_range_is_allowed_and_its_text_reads_back_as_the_same(host: str, one: int, other: int) -> None:
    first, last = sorted((one, other))
    found = opened(f"tcp://{host}:{first}-{last}")
    address = listener_address(f"tcp://{host}:{first}")
    assert opened(str(found)) == found
    assert found.allow(address)
    assert found.allow(Address("tcp", address.host, last))
    assert not found.allow(Address("tcp", address.host, last + 1))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "Edge(open_ports=[]) names no port: write None, or 'tcp://0.0.0.0:20000-29999'"),
        (20000, "Edge(open_ports=…): 20000 is no text: write 'tcp://0.0.0.0:20000-29999'"),
        ("20000-29999", "Edge(open_ports=…): '20000-29999' is no port and no range of ports, as in 'tcp://0.0.0.0:2"),
        ("tcp://0.0.0.0:2-1", "Edge(open_ports=…): 'tcp://0.0.0.0:2-1' ends before it begins: write the lower port"),
        ("tcp://0.0.0.0:0-9", "Edge(open_ports=…): 'tcp://0.0.0.0:0-9' is no port and no range of ports"),
        ("tcp://0.0.0.0:1-65536", "Edge(open_ports=…): 'tcp://0.0.0.0:1-65536' is no port and no range of ports"),
        ("tcp://localhost:1-9", "Edge(open_ports=…): 'tcp://localhost:1-9' is no port and no range of ports"),
        ("unix:///run/x.sock", "Edge(open_ports=…): 'unix:///run/x.sock' is no port and no range of ports"),
        (["tcp://0.0.0.0:1", None], "Edge(open_ports=…): None is no text"),
    ],
)
def test_what_is_no_range_of_ports_is_refused_with_an_example(value: Any, why: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_open_ports(value)
    assert str(raised.value).startswith(why)


def test_no_ports_are_open_by_default() -> None:
    assert parse_open_ports(None) is None


def test_open_ports_are_shown_as_they_are_read() -> None:
    assert str(opened(["tcp://0.0.0.0:020-29", "tcp://[::0]:3000"])) == "tcp://0.0.0.0:20-29, tcp://[::]:3000"
