"""Against a real server on loopback, so these tests run on the real clock."""

import gc
import os
import socket
from collections.abc import Callable
from pathlib import Path

import dns.message
import pytest
import trio

from tests.support.dns_server import DnsServer, dns_server
from trioedge.upstreams import name_servers
from trioedge.upstreams.lookup import Absent, Failed, Found, Lookup
from trioedge.upstreams.name_servers import IPV6_SECONDS, NO_SOA_SECONDS, NameServers, has_ipv6, source_towards

ZONE = """
test. 60 IN SOA ns.test. admin.test. 1 60 60 60 30
redis.test. 20 IN A 192.0.2.1
redis.test. 20 IN A 192.0.2.2
redis.test. 10 IN AAAA ::1
old.test. 20 IN A 192.0.2.3
new.test. 20 IN AAAA ::2
mail.test. 20 IN MX 10 redis.test.
alias.test. 5 IN CNAME old.test.
nowhere.test. 20 IN CNAME gone.test.
db.corp.test. 20 IN A 192.0.2.4
"""
OLD = Found(("192.0.2.3",), 20)


async def look_up(server: DnsServer, host: str, *, ipv6: bool = True, seconds: float = 3) -> Lookup:
    return await NameServers(server.client(), ipv6=ipv6).look_up(host, trio.current_time() + seconds)


async def test_both_families_are_queried_and_the_shortest_time_to_live_counts() -> None:
    async with dns_server(ZONE) as server:
        lookup = await look_up(server, "redis.test")
    assert isinstance(lookup, Found)
    assert sorted(lookup.hosts) == ["192.0.2.1", "192.0.2.2", "::1"]
    assert lookup.seconds == 10
    assert server.asked == {("redis.test.", "A"): 1, ("redis.test.", "AAAA"): 1}


async def test_without_ipv6_on_the_machine_only_ipv4_is_queried() -> None:
    async with dns_server(ZONE) as server:
        lookup = await look_up(server, "redis.test", ipv6=False)
    assert isinstance(lookup, Found)
    assert sorted(lookup.hosts) == ["192.0.2.1", "192.0.2.2"]
    assert server.asked == {("redis.test.", "A"): 1}


@pytest.mark.parametrize(
    ("host", "lookup"),
    [
        ("old.test", OLD),
        ("new.test", Found(("::2",), 20)),
        ("alias.test", Found(("192.0.2.3",), 5)),
        ("mail.test", Absent("mail.test. has no A record", 30)),
        ("gone.test", Absent("gone.test. does not exist", 30)),
        ("nowhere.test", Absent("nowhere.test. does not exist", 20)),
    ],
)
async def test_an_answer_is_read_as_found_or_absent_with_its_time_to_live(host: str, lookup: Lookup) -> None:
    async with dns_server(ZONE) as server:
        assert await look_up(server, host) == lookup


async def test_a_negative_answer_without_a_soa_record_has_a_short_time_to_live() -> None:
    async with dns_server("mail.test. 20 IN MX 10 redis.test.") as server:
        for host in ("gone.test", "mail.test"):
            lookup = await look_up(server, host)
            assert isinstance(lookup, Absent)
            assert lookup.seconds == NO_SOA_SECONDS


async def test_the_wait_for_ipv6_is_short_once_ipv4_is_there() -> None:
    async with dns_server(ZONE, silent=["AAAA"]) as server:
        began = trio.current_time()
        lookup = await look_up(server, "redis.test")
        assert isinstance(lookup, Found)
        assert sorted(lookup.hosts) == ["192.0.2.1", "192.0.2.2"]
        assert IPV6_SECONDS <= trio.current_time() - began < 1


async def test_ipv6_that_is_a_little_late_is_in_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_servers, "IPV6_SECONDS", 1)
    async with dns_server(ZONE, delay={"AAAA": 0.05}) as server:
        lookup = await look_up(server, "redis.test")
        assert isinstance(lookup, Found)
        assert "::1" in lookup.hosts


@pytest.mark.parametrize("slow", ["A", "AAAA"])
async def test_the_wait_for_the_only_family_with_addresses_is_long(slow: str) -> None:
    async with dns_server(ZONE, delay={slow: 2 * IPV6_SECONDS}) as server:
        lookup = await look_up(server, "old.test" if slow == "A" else "new.test")
        assert isinstance(lookup, Found)


async def test_the_wait_for_ipv4_is_long_even_when_ipv6_is_there() -> None:
    async with dns_server(ZONE, delay={"A": 2 * IPV6_SECONDS}) as server:
        lookup = await look_up(server, "redis.test")
        assert isinstance(lookup, Found)
        assert sorted(lookup.hosts) == ["192.0.2.1", "192.0.2.2", "::1"]


async def test_at_the_deadline_the_addresses_that_are_there_are_the_answer() -> None:
    async with dns_server(ZONE, silent=["A"]) as server:
        assert await look_up(server, "redis.test", seconds=0.2) == Found(("::1",), 10)
        assert await look_up(server, "old.test", seconds=0.1) == Failed("no answer in time from 127.0.0.1")


async def test_a_failure_of_one_family_without_addresses_in_the_other_is_a_failure() -> None:
    async with dns_server(ZONE, silent=["AAAA"]) as server:
        assert isinstance(await look_up(server, "mail.test", seconds=0.1), Failed)


async def test_a_server_that_fails_is_a_failure_and_not_a_negative_answer() -> None:
    async with dns_server(ZONE, failing=["redis.test."]) as server:
        lookup = await look_up(server, "redis.test")
    assert isinstance(lookup, Failed)
    assert "SERVFAIL" in lookup.detail


@pytest.mark.parametrize(
    ("host", "ndots", "asked"),
    [
        ("db", 1, ["db.else.test.", "db.corp.test."]),
        ("db.corp.test", 1, ["db.corp.test."]),
        ("db.corp.test", 5, ["db.corp.test.else.test.", "db.corp.test.corp.test.", "db.corp.test."]),
        ("db.corp.test.", 5, ["db.corp.test."]),
    ],
)
async def test_search_domains_are_tried_as_ndots_says(host: str, ndots: int, asked: list[str]) -> None:
    async with dns_server(ZONE) as server:
        client = server.client(search=["else.test.", "corp.test."], ndots=ndots)
        lookup = await NameServers(client, ipv6=False).look_up(host, trio.current_time() + 3)
    assert lookup == Found(("192.0.2.4",), 20)
    assert [name for name, _ in server.asked] == asked


async def test_a_name_that_no_domain_has_is_absent_for_the_shortest_of_their_times() -> None:
    async with dns_server(ZONE) as server:
        client = server.client(search=["else.test.", "corp.test."])
        lookup = await NameServers(client, ipv6=False).look_up("gone", trio.current_time() + 3)
    tried = "gone.else.test. does not exist, gone.corp.test. does not exist, gone. does not exist"
    assert lookup == Absent(tried, 5)


SEARCHED = """
else.test. 60 IN SOA ns.test. admin.test. 1 60 60 60 30
db.corp.test. 20 IN A 192.0.2.4
db.corp.test. 20 IN AAAA ::4
db.only6.test. 20 IN AAAA ::6
db.empty.test. 20 IN MX 10 mail.test.
"""


@pytest.mark.parametrize(
    ("first", "failing", "hosts"),
    [
        ("broken.test.", ["db.broken.test."], ("192.0.2.4", "::4")),  # SERVFAIL
        ("empty.test.", [], ("192.0.2.4", "::4")),  # the name is there, without an address
        ("else.test.", [], ("192.0.2.4", "::4")),  # NXDOMAIN
        ("only6.test.", [], ("::6",)),  # both families are of one host
    ],
)
async def test_a_domain_that_fails_or_has_no_address_does_not_end_the_search(
    first: str, failing: list[str], hosts: tuple[str, ...]
) -> None:
    async with dns_server(SEARCHED, failing=failing) as server:
        client = server.client(search=[first, "corp.test."])
        lookup = await NameServers(client, ipv6=True).look_up("db", trio.current_time() + 3)
    assert isinstance(lookup, Found)
    assert sorted(lookup.hosts) == sorted(hosts)


async def test_a_failure_in_one_domain_is_no_absence_although_the_others_do_not_have_the_name() -> None:
    async with dns_server(SEARCHED, failing=["gone.corp.test."]) as server:
        client = server.client(search=["corp.test.", "else.test."])
        lookup = await NameServers(client, ipv6=False).look_up("gone", trio.current_time() + 3)
    assert isinstance(lookup, Failed)
    assert [name for name, _ in server.asked] == ["gone.corp.test.", "gone.else.test.", "gone."]


async def test_a_search_ends_where_no_server_answers() -> None:
    async with dns_server(SEARCHED, silent=["db.else.test."]) as server:
        client = server.client(search=["else.test.", "corp.test."])
        client.timeout = client.lifetime = 0.1
        lookup = await NameServers(client, ipv6=False).look_up("db", trio.current_time() + 3)
    assert isinstance(lookup, Failed)
    assert [name for name, _ in server.asked] == ["db.else.test."]


async def test_a_domain_too_long_for_the_name_is_left_out_of_the_search() -> None:
    async with dns_server(ZONE) as server:
        client = server.client(search=[".".join(["a" * 60] * 4), "corp.test."])
        lookup = await NameServers(client, ipv6=False).look_up("db", trio.current_time() + 3)
    assert lookup == Found(("192.0.2.4",), 20)


async def test_an_answer_too_long_for_a_datagram_is_fetched_over_tcp() -> None:
    hosts = [f"192.0.2.{number}" for number in range(100)]
    async with dns_server("".join(f"many.test. 20 IN A {host}\n" for host in hosts)) as server:
        lookup = await look_up(server, "many.test", ipv6=False)
    assert isinstance(lookup, Found)
    assert sorted(lookup.hosts) == sorted(hosts)
    assert server.asked == {("many.test.", "A"): 2}


@pytest.mark.parametrize("host", ["a..test", "a" * 64 + ".test", ".".join("a" * 200), "\\999.test", "\udc80.test", ""])
async def test_a_name_that_cannot_be_encoded_is_a_failure_without_a_query(host: str) -> None:
    async with dns_server(ZONE) as server:
        assert not isinstance(await look_up(server, host), Found)
    assert not [name for name, _ in server.asked if name != "."]


def _forged(query: bytes) -> bytes:
    return bytes([query[0] ^ 1]) + dns.message.make_response(dns.message.from_wire(query)).to_wire()[1:]


@pytest.mark.parametrize(
    "datagram",
    [
        lambda query: b"",
        lambda query: os.urandom(40),
        lambda query: query,
        lambda query: query[:2] + b"\x84\x00" + bytes(8),
        lambda query: query[:2] + b"\xac\x00" + query[4:],
        _forged,
    ],
)
async def test_datagrams_that_are_no_answer_are_ignored(datagram: Callable[[bytes], bytes]) -> None:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.bind(("127.0.0.1", 0))
        server = DnsServer(ZONE, port=udp.getsockname()[1])

        async def answer() -> None:
            query, client = await udp.recvfrom(512)
            await udp.sendto(datagram(query), client)
            await udp.sendto(await server.answer(query, 512), client)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            assert await look_up(server, "old.test", ipv6=False) == OLD


async def test_a_cancel_leaves_no_socket_open() -> None:
    many = "".join(f"many.test. 20 IN A 192.0.2.{number}\n" for number in range(100))
    async with dns_server(many, silent=["AAAA"]) as server, dns_server(silent=["A"]) as silent:
        gc.collect()  # what earlier tests left must not be freed meanwhile
        before = sorted(os.listdir("/proc/self/fd"))
        for number in range(40):
            with trio.move_on_after(number / 4000):
                await look_up(server, "many.test")
            with trio.move_on_after(0.001):
                await look_up(silent, "redis.test")
        with trio.fail_after(5):
            while sorted(os.listdir("/proc/self/fd")) != before:  # the server closes its ends a little later
                await trio.sleep(0.001)


async def test_the_servers_of_a_file_are_read_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    servers = NameServers(path, ipv6=False)

    async def detail() -> str:
        lookup = await servers.look_up("redis.test", trio.current_time())  # too late to send anything
        assert isinstance(lookup, Failed)
        return lookup.detail

    assert await detail() == f"no name server to ask: [Errno 2] No such file or directory: {str(path)!r}"
    path.write_text("search corp.test\noptions ndots:2\n")
    assert await detail() == "no answer in time from 127.0.0.1"  # as libc
    path.write_text("nameserver 192.0.2.53\n")
    assert await detail() == "no answer in time from 192.0.2.53"
    path.write_text("nameserver 192.0.2.53\nnameserver 2001:db8::53\n")
    assert await detail() == "no answer in time from 192.0.2.53, 2001:db8::53"
    path.write_bytes(b"# caf\xe9\nnameserver somewhere\nblurb\nnameserver 192.0.2.54\noptions ndots:x\n")
    assert await detail() == "no answer in time from 192.0.2.54"


async def test_search_domains_and_ndots_of_a_file_apply_and_its_timeout_is_capped(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.1\nsearch else.test corp.test\noptions ndots:5 timeout:30\n")
    async with dns_server(ZONE) as server:
        servers = NameServers(path, ipv6=False)
        client = servers._configured()
        assert client.timeout == name_servers.TRY_SECONDS
        client.port = server.port  # a file has no port
        assert await servers.look_up("db", trio.current_time() + 3) == Found(("192.0.2.4",), 20)
    assert [name for name, _ in server.asked] == ["db.else.test.", "db.corp.test."]


@pytest.mark.parametrize(("option", "over_tcp"), [("use-vc", 1), ("rotate", 0)])
async def test_use_vc_queries_over_tcp(option: str, over_tcp: int, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(f"nameserver 127.0.0.1\noptions {option}\n")
    async with dns_server(ZONE) as server:
        servers = NameServers(path, ipv6=False)
        servers._configured().port = server.port  # a file has no port
        assert await servers.look_up("old.test", trio.current_time() + 3) == OLD
        assert server.over_tcp == over_tcp


@pytest.mark.parametrize(
    ("options", "timeout", "lifetime", "rotate"),
    [("", 1, 5, False), ("timeout:3 attempts:2", 1, 4, False), ("attempts:1 rotate", 1, 2, True)],
)
def test_timeout_attempts_and_rotate_of_a_file_apply(
    options: str, timeout: float, lifetime: float, rotate: bool, tmp_path: Path
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(f"nameserver 192.0.2.53\nnameserver 192.0.2.54\noptions {options}\n")
    client = NameServers(path)._configured()
    assert (client.timeout, client.lifetime, client.rotate) == (timeout, lifetime, rotate)


LOOPBACK = "00000000000000000000000000000001 01 80 10 80       lo\n"
LINK_LOCAL = "fe800000000000000000000000000001 02 40 20 80     eth0\n"
UNIQUE_LOCAL = "fd000000000000000000000000000001 02 40 00 80     eth0\n"


@pytest.mark.parametrize(
    ("text", "known"),
    [("", False), (LOOPBACK, False), (LOOPBACK + LINK_LOCAL, False), (LOOPBACK + LINK_LOCAL + UNIQUE_LOCAL, True)],
)
def test_a_machine_has_ipv6_if_an_address_reaches_beyond_its_link(text: str, known: bool, tmp_path: Path) -> None:
    path = tmp_path / "if_inet6"
    path.write_text(text)
    assert has_ipv6(path) is known
    assert not has_ipv6(tmp_path / "missing")


async def test_by_default_ipv6_is_queried_if_the_machine_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with dns_server(ZONE) as server:
        servers = NameServers(server.client())
        for known, asked in ((False, 1), (True, 3)):
            monkeypatch.setattr(name_servers, "has_ipv6", lambda known=known: known)
            await servers.look_up("redis.test", trio.current_time() + 3)
            assert server.asked.total() == asked


@pytest.mark.parametrize(
    ("host", "source", "first"),
    [
        ("2600::1", "2600::9", True),
        ("2600::1", "fd00::9", False),
        ("fd00::1", "fd00::9", True),
        ("fd00::1", "2600::9", False),
        ("2600::1", None, False),
    ],
)
async def test_ipv6_comes_first_if_the_source_address_is_of_the_same_kind(
    host: str, source: str | None, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name_servers, "source_towards", lambda host: source)
    async with dns_server(f"both.test. 20 IN A 192.0.2.1\nboth.test. 20 IN AAAA {host}") as server:
        lookup = await look_up(server, "both.test")
    assert isinstance(lookup, Found)
    assert lookup.hosts == ((host, "192.0.2.1") if first else ("192.0.2.1", host))


def test_the_source_address_for_a_destination_is_found_without_a_packet() -> None:
    assert source_towards("::ffff:127.0.0.1") in ("::ffff:127.0.0.1", None)  # None: a machine without IPv6 sockets
    assert source_towards("ff02::1%nonexistent") is None
