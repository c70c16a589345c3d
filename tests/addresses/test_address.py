from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import examples, ip_texts
from trioedge.addresses.address import UNIX_SOURCE, Address, normalise_source, parse_address
from trioedge.errors import ConfigurationError

labels = st.tuples(st.sampled_from("az0_"), st.text("az0_-", max_size=8), st.sampled_from("az9_")).map("".join)
host_names = st.lists(labels, max_size=3).map(lambda labels: ".".join([*labels, "example"]))
hosts = st.one_of(host_names, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"))
tcp_texts = st.builds("tcp://{}:{}".format, hosts, st.integers(1, 65_535))
parts = st.text("az09 ._:@?#%é-", min_size=1, max_size=12)
unix_texts = st.lists(parts, min_size=1, max_size=4).map(lambda parts: "unix:///" + "/".join(parts))


def without_login(text: str) -> str:
    """Write an address as a fault quotes it: no letter from a :// up to an @ in front of the next slash."""
    first, *rest = text.split("://")
    written = first
    for each in rest:
        host, slash, path = each.partition("/")
        written += f"://***@{host.rpartition('@')[2]}{slash}{path}" if "@" in host else f"://{each}"
    return written


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:6379", Address("tcp", "127.0.0.1", 6379)),
        ("tcp://[::1]:9000", Address("tcp", "::1", 9000)),
        ("tcp://[fe80::1%eth0]:9000", Address("tcp", "fe80::1%eth0", 9000)),
        ("tcp://[FE80::1%Eth0]:9000", Address("tcp", "fe80::1%Eth0", 9000)),
        ("tcp://[fe80::1%2]:9000", Address("tcp", "fe80::1%2", 9000)),
        ("tcp://[fe80::1%a%b]:9000", Address("tcp", "fe80::1%a%b", 9000)),
        ("tcp://0.0.0.0:65535", Address("tcp", "0.0.0.0", 65_535)),
        ("tcp://redis.internal:6379", Address("tcp", "redis.internal", 6379)),
        ("tcp://Redis.Internal.:6379", Address("tcp", "redis.internal.", 6379)),
        ("tcp://my_redis:1", Address("tcp", "my_redis", 1)),
        (f"tcp://{'x.' * 126}x:1", Address("tcp", "x." * 126 + "x", 1)),
        ("unix:///run/edge.sock", Address("unix", path="/run/edge.sock")),
        ("unix:///" + "x" * 106, Address("unix", path="/" + "x" * 106)),
    ],
)
def test_an_address_is_parsed_to_scheme_host_port_or_path(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "must begin with tcp:// or unix://"),
        ("127.0.0.1:6379", "must begin with tcp:// or unix://: write 'tcp://127.0.0.1:6379'"),
        ("localhost:80", "must begin with tcp:// or unix://: write 'tcp://localhost:80'"),
        ("/run/edge.sock", "must begin with tcp:// or unix://: write 'unix:///run/edge.sock'"),
        ("redis", "must begin with tcp:// or unix://, as in tcp://127.0.0.1:6379"),
        ("tcp:127.0.0.1:6379", "must begin with tcp:// or unix://"),
        ("http://127.0.0.1:6379", "must begin with tcp:// or unix://"),
        ("tcp://", "names no host"),
        ("tcp://:6379", "names no host"),
        ("tcp://127.0.0.1", "names no port"),
        ("tcp://127.0.0.1:", "names no port"),
        ("tcp://[::1]", "names no port"),
        ("tcp://127.0.0.1:0", "nothing answers on port 0"),
        ("tcp://127.0.0.1:65536", "out of range"),
        ("tcp://127.0.0.1:-1", ""),
        ("tcp://127.0.0.1:redis", ""),
        ("tcp://127.0.0.1:6_379", ""),
        ("tcp://127.0.0.1:\uff16\uff13\uff17\uff19", ""),
        ("tcp://127.0.0.1: 6379", ""),
        ("tcp://::1:7300", "has an IPv6 address without brackets: write 'tcp://[::1]:7300'"),
        ("tcp://:::80", "write 'tcp://[::]:80'"),
        ("tcp://2001:db8::1:443", "write 'tcp://[2001:db8::1]:443'"),
        ("tcp://fe80::1%eth0:80", "write 'tcp://[fe80::1%eth0]:80'"),
        ("tcp://::ffff:192.0.2.1:80", "write 'tcp://[::ffff:192.0.2.1]:80'"),
        ("tcp://::1", "write 'tcp://[::1]:6379'"),
        ("tcp://::1:", "write 'tcp://[::1]:6379'"),
        ("tcp://redis:6379:1", "port '6379:1' is out of range"),
        ("tcp://[::1:6379", ""),
        ("tcp://[127.0.0.1]:6379", ""),
        ("tcp://127.0.0.1:6379/", "more than a host and a port"),
        ("tcp://127.0.0.1:6379?db=1", "more than a host and a port"),
        ("tcp://127.0.0.1:6379#db", "more than a host and a port"),
        ("tcp://user:secret@127.0.0.1:6379", "more than a host and a port"),
        ("tcp://@127.0.0.1:6379", "more than a host and a port"),
        ("tcp://[fe80::1%]:80", "'' names no interface, as eth0 does in tcp://[fe80::1%eth0]:6379"),
        ("tcp://[fe80::1%eth 0]:80", "'eth 0' names no interface"),
        ("tcp://[fe80::1%abcdefghijklmnop]:80", "'abcdefghijklmnop' names no interface"),
        ("tcp://[fe80::1%\udc80]:80", "names no interface"),
        ("tcp://re%dis:80", "'re%dis' is neither an IP address nor a host name"),
        ("tcp://192.0.2.1%eth0:80", "'192.0.2.1%eth0' is neither an IP address nor a host name"),
        ("tcp://127.0.0.256:6379", "neither an IP address nor a host name"),
        ("tcp://127.1:6379", "neither an IP address nor a host name"),
        ("tcp://2130706433:6379", "neither an IP address nor a host name"),
        ("tcp://-redis:6379", "neither an IP address nor a host name"),
        ("tcp://redis-:6379", "neither an IP address nor a host name"),
        ("tcp://redis..internal:6379", "neither an IP address nor a host name"),
        ("tcp://.:6379", "neither an IP address nor a host name"),
        ("tcp://re dis:6379", "neither an IP address nor a host name"),
        ("tcp://rédis:6379", "neither an IP address nor a host name"),
        (f"tcp://{'x' * 64}:6379", "neither an IP address nor a host name"),
        (f"tcp://{'x.' * 125}xx.x:6379", "neither an IP address nor a host name"),
        ("unix://", "absolute path"),
        ("unix://run/edge.sock", "absolute path"),
        ("unix:///", "absolute path"),
        ("unix:///run/", "absolute path"),
        ("unix:///run/\0edge", "absolute path"),
        ("unix:///" + "x" * 107, "at most 107 bytes"),
        ("unix:///" + "é" * 54, "at most 107 bytes"),
        # urlsplit drops these characters silently.
        ("tcp://127.0.0.1:63\t79", ""),
        ("tcp://127.0.0.1:6379\n", ""),
        ("tcp://127.0\n.0.1:6379", ""),
        ("tcp://[::1]redis:6379", ""),
        ("tcp://redis[::1]:6379", ""),
        ("tcp://[v1.redis]:6379", ""),
        ("tcp://127.0.0.1:6379?", "more than a host and a port"),
        ("tcp://127.0.0.1:6379#", "more than a host and a port"),
        # IPv4 has no scopes.
        ("tcp://127.0.0.1%eth0:6379", "neither an IP address nor a host name"),
        # Bytes of a command line that are not UTF-8 arrive as surrogates.
        ("unix:///run/\udcff", ""),
    ],
)
def test_a_bad_address_is_quoted_with_its_fault(text: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_address(text)
    assert repr(without_login(text)) in str(refusal.value)
    assert wrong in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("systemd:redis", "redis"),
        (" systemd:trioedge@redis.socket ", "trioedge@redis.socket"),
        ("systemd:two words", "two words"),
        ("systemd:" + "x" * 255, "x" * 255),
    ],
)
def test_a_socket_of_systemd_is_listened_on_by_its_name_and_never_connected_to(text: str, name: str) -> None:
    address = parse_address(text, listening=True)
    assert address == Address("systemd", path=name)
    assert str(address) == f"systemd:{name}"
    assert not address.literal
    with pytest.raises(ConfigurationError, match="is a socket to listen on: write the address to connect to"):
        parse_address(text)


@pytest.mark.parametrize("name", ["", "a:b", "é", "a\nb", "x" * 256])
def test_a_name_that_systemd_cannot_give_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="needs the FileDescriptorName of a socket unit: 1 to 255 letters of"):
        parse_address(f"systemd:{name}", listening=True)


@pytest.mark.parametrize("thing", [None, 6379, b"tcp://127.0.0.1:6379", ("127.0.0.1", 6379)])
def test_a_value_that_is_not_text_is_quoted_too(thing: str) -> None:
    with pytest.raises(ConfigurationError, match="is not text") as refusal:
        parse_address(thing)
    assert repr(thing) in str(refusal.value)


@pytest.mark.parametrize(
    ("number", "address"),
    [(7300, "tcp://127.0.0.1:7300"), (65_536, "tcp://127.0.0.1:6379"), (0, "tcp://127.0.0.1:6379")],
)
def test_a_number_in_place_of_an_address_is_refused_with_the_address_to_write(number: int, address: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_address(cast(str, number), listening=True)
    assert str(refusal.value) == f"address {number} is not text: write '{address}'"


def test_a_listener_may_name_port_0_but_not_omit_the_port() -> None:
    assert parse_address("tcp://127.0.0.1:0", listening=True) == Address("tcp", "127.0.0.1", 0)
    with pytest.raises(ConfigurationError, match="names no port"):
        parse_address("tcp://127.0.0.1", listening=True)


@examples(150)
@given(tcp_texts | unix_texts)
def test_an_address_is_printed_as_it_was_written(text: str) -> None:
    assert str(parse_address(text)) == text


def printed_or_refused(text: str) -> str:
    try:
        return str(parse_address(text))
    except ConfigurationError as refusal:
        return str(refusal)


@examples(150)
@example("tcp://://@:1")
@example("tcp://:///@:1")
@example("tcp://x://a://b@c:1")
@given(st.text("[]:.%@/?# \t-x1", max_size=12).map("tcp://{}:1".format))
def test_text_that_is_parsed_at_all_is_parsed_from_its_printed_form_too(text: str) -> None:
    said = printed_or_refused(text)
    assert repr(without_login(text)) in said or printed_or_refused(said) == said


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://[2001:db8::1]:1", True),
        ("tcp://[fe80::1%eth0]:1", True),
        ("tcp://localhost:1", False),
        ("unix:///127.0.0.1", False),
    ],
)
def test_only_an_ip_address_is_literal(text: str, literal: bool) -> None:
    assert parse_address(text).literal is literal


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("::fffe:192.0.2.1", "::fffe:c000:201"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.1 ", "192.0.2.1"),
        ("\t2001:DB8::1 ", "2001:db8::1"),
        ("::", "::"),
        ("0.0.0.0", "0.0.0.0"),
    ],
)
def test_every_spelling_of_a_source_has_one_canonical_form(text: str, canonical: str) -> None:
    assert normalise_source(text) == (canonical, ip_address(canonical).packed)


@pytest.mark.parametrize("text", [UNIX_SOURCE, " unix "])
def test_the_source_unix_is_packed_as_no_bytes(text: str) -> None:
    assert normalise_source(text) == ("unix", b"")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:6379 ", Address("tcp", "127.0.0.1", 6379)),
        (" tcp://[::1]:9000 \t", Address("tcp", "::1", 9000)),
        ("\ttcp://redis.internal:6379", Address("tcp", "redis.internal", 6379)),
        (" unix:///run/edge.sock", Address("unix", path="/run/edge.sock")),
        ("unix:///run/edge sock ", Address("unix", path="/run/edge sock ")),
    ],
)
def test_blanks_around_an_address_are_ignored_but_a_path_may_end_with_one(text: str, address: Address) -> None:
    assert parse_address(text) == address


@examples(100)
@given(ip_texts)
def test_the_canonical_form_is_its_own_canonical_form(text: str) -> None:
    canonical, packed = normalise_source(text)
    assert normalise_source(canonical) == (canonical, packed)
    assert ip_address(packed) == ip_address(canonical)


@examples(100)
@given(st.ip_addresses(v=4))
def test_a_mapped_source_is_its_ipv4_address(address: IPv4Address) -> None:
    mapped = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    assert normalise_source(mapped.exploded) == normalise_source(str(address)) == (str(address), address.packed)


@pytest.mark.parametrize(
    "text", ["", "redis", "192.0.2", "192.0.2.256", "192.0.02.1", "192.0.2. 1", "192.0.2.1%eth0:", "[::1]", "UNIX"]
)
def test_a_source_that_is_no_ip_address_is_quoted(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not an IP address") as refusal:
        normalise_source(text)
    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize("text", ["socks5://user:secret@host:1080", "tcp://user:secret@host:1", "://a:secret@b:c@d"])
def test_a_login_in_an_address_is_not_quoted(text: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse_address(text)
    assert "secret" not in str(error.value)
    assert "://***@" in str(error.value)
