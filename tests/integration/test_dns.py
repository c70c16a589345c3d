"""An edge before a destination with a name, and a real DNS server, which is slow, wrong or not there at all."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.dns_server import dns_server
from tests.support.wires import connect, receive_all, receive_exactly, server, serving
from trioedge.addresses.address import Address
from trioedge.loop.reactor import Reactor
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams import resolver as resolver_module
from trioedge.upstreams.hosts_file import HostsFile
from trioedge.upstreams.name_servers import NameServers
from trioedge.upstreams.query_queue import PLACES
from trioedge.upstreams.resolver import Answer, Resolver

ZONE = "redis.test. 0 IN A 127.0.0.1"
PROMPTLY = 0.5
"""Seconds in which a session with a known address has its first byte, however busy this machine is.

Waiting for a name without an answer would take 3.
"""

Resolving = Callable[[NameServers], list[Resolver]]


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Resolving:
    """Have edges ask other name servers than the machine's own, and collect the edges' resolvers."""

    def use(names: NameServers) -> list[Resolver]:
        resolvers: list[Resolver] = []

        def make(reactor: Reactor, log: EdgeLog) -> Resolver:
            resolvers.append(Resolver(reactor, names, HostsFile(Path("/nonexistent/hosts")), log))
            return resolvers[-1]

        monkeypatch.setattr("trioedge.serving.run.Resolver", make)
        return resolvers

    return use


@asynccontextmanager
async def edge_to(destination: str) -> AsyncIterator[tuple[int, te.Edge]]:
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(destination, retries=0))
    async with serving(edge) as port:
        yield port, edge


async def ping(port: int) -> float:
    """Have one session, and say how many seconds its first byte took."""
    began = trio.current_time()
    async with await connect(port) as client:
        await client.send_all(b"ping")
        assert await receive_exactly(client, 4) == b"ping"
        return trio.current_time() - began


async def test_fifty_sessions_to_a_name_that_nobody_knows_yet_make_one_query(resolving: Resolving) -> None:
    async with server() as upstream, dns_server(ZONE, delay={"A": 0.1}) as names:
        resolving(NameServers(names.client(), ipv6=False))
        async with edge_to(f"tcp://redis.test:{upstream}") as (port, _):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(ping, port)
    assert names.asked == {("redis.test.", "A"): 1}


async def test_a_stale_address_serves_while_nobody_answers_and_a_moved_one_is_found(
    resolving: Resolving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "MIN_SECONDS", 0.02)
    monkeypatch.setattr(resolver_module, "STALE_ANSWER_SECONDS", 0.1)
    async with server() as upstream, dns_server("redis.test. 0 IN A 127.0.0.7") as names:
        resolving(NameServers(names.client(), ipv6=False))
        async with edge_to(f"tcp://redis.test:{upstream}") as (port, edge):
            async with await connect(port) as client:
                with pytest.raises(trio.BrokenResourceError):
                    await receive_all(client)
            assert edge.statistics().ended == {te.Reason.UPSTREAM_REFUSED: 1}

            names.zone = ZONE
            with trio.fail_after(2):
                while edge.statistics().ended.get(te.Reason.FINISHED, 0) == 0:
                    await trio.sleep(0.01)
                    with suppress(trio.BrokenResourceError):
                        async with await connect(port) as client:
                            await client.send_eof()
                            await receive_all(client)

            names.silent = ["A"]
            await trio.sleep(0.03)
            before = names.asked.total()
            for _ in range(10):
                assert await ping(port) < PROMPTLY
                assert names.asked.total() <= before + 1  # one question at most, however many sessions wait


async def test_two_hundred_hung_names_hold_up_neither_addresses_nor_known_names(resolving: Resolving) -> None:
    hung = [f"hung{number}.test" for number in range(200)]
    async with server() as upstream, dns_server(ZONE, silent=[f"{name}." for name in hung]) as names:
        resolvers = resolving(NameServers(names.client(), ipv6=False))
        by_name, by_address = edge_to(f"tcp://redis.test:{upstream}"), edge_to(f"tcp://127.0.0.1:{upstream}")
        async with by_name as (named, _), by_address as (literal, _):
            await ping(named)
            answers: list[Answer] = []
            for resolver in resolvers:
                for name in hung:
                    resolver.ask(Address("tcp", name, 1), answers.append)
            with trio.fail_after(2):
                while names.asked.total() < 1 + 2 * PLACES:
                    await trio.sleep(0.01)
            for port in (named, literal):
                assert sorted([await ping(port) for _ in range(20)])[-2] < PROMPTLY
            assert not answers


async def test_silent_names_of_two_hundred_services_do_not_keep_new_names_from_their_addresses(
    resolving: Resolving,
) -> None:
    hung = [f"hung{number}.test" for number in range(200)]
    fresh = [f"new{number}.test" for number in range(30)]
    zone = "".join(f"{name}. 60 IN A 127.0.0.1\n" for name in [*fresh, "redis.test"])
    async with server() as upstream, dns_server(zone, silent=[f"{name}." for name in hung]) as names:
        resolvers = resolving(NameServers(names.client(), ipv6=False))
        async with edge_to(f"tcp://redis.test:{upstream}") as (port, _):
            await ping(port)
            (resolver,) = resolvers
            for name in hung:
                resolver.ask(Address("tcp", name, 1), lambda answer: None, name)
            answers: list[Answer] = []
            for name in fresh:
                resolver.ask(Address("tcp", name, 1), answers.append, "another service")
            with trio.fail_after(2.9):  # before the first of the silent ones has failed
                while len(answers) < len(fresh):
                    await trio.sleep(0.01)
            assert not any(isinstance(answer, te.UpstreamError) for answer in answers)


async def test_a_name_that_nobody_answers_for_ends_its_session_in_time(
    resolving: Resolving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "QUERY_SECONDS", 0.1)
    async with dns_server(silent=["A"]) as names:
        resolving(NameServers(names.client(), ipv6=False))
        async with edge_to("tcp://redis.test:6379") as (port, edge):
            began = trio.current_time()
            async with await connect(port) as client:
                with pytest.raises(trio.BrokenResourceError):
                    await receive_all(client)
            assert trio.current_time() - began < 0.1 + PROMPTLY  # not the 5 s of connecting
            assert edge.statistics().ended == {te.Reason.UPSTREAM_UNRESOLVED: 1}


async def test_without_a_usable_resolv_conf_it_serves_and_names_are_not_resolved(
    resolving: Resolving, tmp_path: Path
) -> None:
    resolving(NameServers(tmp_path / "resolv.conf"))
    async with server() as upstream:
        async with edge_to(f"tcp://127.0.0.1:{upstream}") as (port, _):
            await ping(port)
        async with edge_to(f"tcp://redis.test:{upstream}") as (port, edge):
            async with await connect(port) as client:
                with pytest.raises(trio.BrokenResourceError):
                    await receive_all(client)
            assert edge.statistics().ended == {te.Reason.UPSTREAM_UNRESOLVED: 1}
