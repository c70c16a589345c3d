"""What the real nft does, as a program that makes a network of its own first: ``scenarios.py NFT NAME``.

A process of its own, because trio starts programs in threads, which have the network of their process. It ends with 77
where it may not make a network. Bans end by the clock of the kernel, so a scenario may take seconds.
"""

import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trioedge as te
from structlog.testing import capture_logs

from trioedge_nft import NftBan
from trioedge_nft.commands import ban, read_networks, set_up
from trioedge_nft.program import NftError, apply

NO_NETWORK = 77
CLONE_NEWNET = 0x40000000
SIOCSIFADDR, SIOCSIFFLAGS, IFF_UP = 0x8916, 0x8914, 1

SERVER, CLIENT, OTHER = "192.0.2.9", "192.0.2.1", "192.0.2.2"


def make_network(nft: str) -> None:
    """Leave the network of the machine, and give the loopback of the new one a server's and two clients' addresses."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        sys.exit(NO_NETWORK if ctypes.get_errno() == errno.EPERM else os.strerror(ctypes.get_errno()))
    assert run(nft, "list", "ruleset") == ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number, address in enumerate(("127.0.0.1", SERVER, CLIENT, OTHER)):
            name = f"lo:{number}".encode() if number else b"lo"
            packed = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(sock, SIOCSIFADDR, struct.pack("16s16s", name, packed))
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def run(*command: str) -> str:
    """Run a program, and give what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def elements(nft: str, name: str, table: str = "trioedge") -> list[str]:
    """The elements of a set; none if there is no such set."""
    done = subprocess.run([nft, "-j", "list", "set", "inet", table, name], capture_output=True, text=True, check=False)
    if done.returncode:
        return []
    (found,) = [each["set"] for each in json.loads(done.stdout)["nftables"] if "set" in each]
    values = [each["elem"]["val"] for each in found.get("elem", [])]
    return sorted(
        f"{value['prefix']['addr']}/{value['prefix']['len']}" if isinstance(value, dict) else value for value in values
    )


async def answered(port: int, source: str) -> bool:
    """Connect from an address, and tell whether a session began within half a second."""
    sock = trio.socket.socket()
    with trio.move_on_after(0.5), sock:
        try:
            await sock.bind((source, 0))
            await sock.connect((SERVER, port))
            await sock.send(b"hello")
            return await sock.recv(5) == b"hello"
        except ConnectionError:
            return False
    return False


async def echo(session: te.Session) -> te.Outcome:
    """An endpoint that sends back what it gets."""
    while data := await session.stream.receive_some():
        await session.stream.send_all(data)
    return te.Completed()


def edge_of(observer: NftBan, burst: int) -> te.Edge:
    """An edge that lets each source in for `burst` times."""
    return te.Edge(
        f"tcp://{SERVER}:0", [te.SessionGate(rate=0.001, burst=burst, per="source")], echo, observers=[observer]
    )


async def a_source_is_dropped_for_a_time(nft: str, log: list[Any]) -> None:
    """The edge makes its table; the kernel drops new connections of one source, and only those."""
    edge = edge_of(NftBan(refusals=3, timeout_seconds=3, create=True, program=nft), burst=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        port = int(edge.addresses[0].rpartition(":")[2])
        live = trio.socket.socket()
        await live.bind((CLIENT, 0))
        await live.connect((SERVER, port))
        assert [await answered(port, CLIENT) for _ in range(4)] == [True, False, False, False]
        with trio.fail_after(5):
            while elements(nft, "banned4") != [CLIENT]:
                await trio.sleep(0.05)
        accepted = edge.statistics().accepted
        assert not await answered(port, CLIENT)
        assert edge.statistics().accepted == accepted  # the edge does not hear of it
        assert await answered(port, OTHER)
        await live.send(b"on")  # a session that is live goes on
        assert await live.recv(2) == b"on"
        live.close()
        with trio.fail_after(10):
            while edge.statistics().accepted == accepted + 1:
                await answered(port, CLIENT)
        nursery.cancel_scope.cancel()
    assert [line for line in log if line["event"].startswith("nft failed")] == []


async def a_table_that_is_there_is_used(nft: str, log: list[Any]) -> None:
    """Sets in another table get the bans, and nothing else changes."""
    await apply(
        nft,
        """
        add table inet filter
        add set inet filter four { type ipv4_addr; flags interval, timeout; }
        add set inet filter six { type ipv6_addr; flags interval, timeout; }
        """,
    )
    before = run(nft, "list", "ruleset")
    observer = NftBan(refusals=1, table="filter", set_ipv4="four", set_ipv6="six", program=nft)
    edge = edge_of(observer, burst=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        port = int(edge.addresses[0].rpartition(":")[2])
        assert [await answered(port, CLIENT) for _ in range(2)] == [True, False]
        with trio.fail_after(5):
            while elements(nft, "four", "filter") != [CLIENT]:
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    await apply(nft, ban("filter", "four", "six", read_networks(["2001:db8::/64"]), 60))
    assert elements(nft, "six", "filter") == ["2001:db8::/64"]
    await apply(nft, "flush set inet filter four\nflush set inet filter six\n")
    assert run(nft, "list", "ruleset") == before


async def a_set_that_is_missing_is_said(nft: str, log: list[Any]) -> None:
    """The log has nft's words, and sessions go on."""
    edge = edge_of(NftBan(refusals=1, program=nft), burst=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        port = int(edge.addresses[0].rpartition(":")[2])
        assert [await answered(port, CLIENT) for _ in range(2)] == [True, False]
        with trio.fail_after(5):
            while not any(line["event"].startswith("nft failed") for line in log):
                await trio.sleep(0.05)
        assert await answered(port, OTHER)
        nursery.cancel_scope.cancel()
    (line, *_) = [line for line in log if line["event"].startswith("nft failed")]
    assert (line["error"], line["sources"]) == ("No such file or directory", 1)


async def a_set_up_may_be_made_twice(nft: str, log: list[Any]) -> None:
    """The second one changes nothing, and bans go on."""
    made = set_up("trioedge", "banned4", "banned6")
    await apply(nft, made + ban("trioedge", "banned4", "banned6", read_networks([CLIENT, "2001:db8::/64"]), 60))
    for _ in range(2):
        await apply(nft, made)
        assert (elements(nft, "banned4"), elements(nft, "banned6")) == ([CLIENT], ["2001:db8::/64"])
        assert run(nft, "list", "chain", "inet", "trioedge", "banned").count(" drop") == 2


async def a_ban_that_fails_in_part_bans_no_source(nft: str, log: list[Any]) -> None:
    """One call is applied whole or not at all."""
    await apply(nft, set_up("trioedge", "banned4", "banned6"))
    await apply(nft, ban("trioedge", "banned4", "banned6", read_networks(["10.0.0.0/8"]), 60))
    with pytest.raises(NftError, match=r"^interval overlaps with an existing one$"):
        await apply(nft, ban("trioedge", "banned4", "banned6", read_networks([CLIENT, "10.0.0.1"]), 60))
    assert elements(nft, "banned4") == ["10.0.0.0/8"]


SCENARIOS: dict[str, Callable[[str, list[Any]], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        a_source_is_dropped_for_a_time,
        a_table_that_is_there_is_used,
        a_set_that_is_missing_is_said,
        a_set_up_may_be_made_twice,
        a_ban_that_fails_in_part_bans_no_source,
    )
}

if __name__ == "__main__":
    _, nft_path, scenario = sys.argv
    make_network(nft_path)
    with capture_logs() as lines:
        trio.run(SCENARIOS[scenario], nft_path, lines)
