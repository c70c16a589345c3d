"""The first session to an upstream that a policy has just named, beside sessions to one that is in use."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from statistics import median

import trio

import trioedge as te
from tests.bench.evict import open_client
from tests.bench.probe import Values, ask, echoing, run, serving
from tests.support.dns_server import DnsServer, dns_server
from trioedge.addresses.address import Address
from trioedge.loop.reactor import Reactor
from trioedge.upstreams.connector import Connector
from trioedge.upstreams.name_servers import NameServers
from trioedge.upstreams.resolver import Answer, OnAnswer, Resolver

ANSWER_SECONDS = 0.1
"""What a name server takes."""
CONNECT_SECONDS = 0.05
"""What a connect takes."""
HEAD_START_SECONDS = 0.5
"""From the policy to the first session."""
AT_ONCE = 20
"""Services that get a policy at the same time, and as many that had theirs from the start."""
CROWD = 50
"""Sessions at once to a name that was not looked up yet."""
CROWD_SOURCE = "127.5.0.1"
FIRST_SOURCE = int(IPv4Address("127.1.0.0"))
"""Where `load cold` counts from."""


class FarResolver(Resolver):
    """Nothing delays packets here, so the time of a connect is waited for between the address and the connect."""

    def __init__(self, reactor: Reactor, names: NameServers, nursery: trio.Nursery) -> None:
        super().__init__(reactor, names)
        self._reactor = reactor
        self._nursery = nursery

    def ask(self, address: Address, on_answer: OnAnswer, asker: object = None) -> None:
        super().ask(address, lambda answer: self._nursery.start_soon(self._pass_on, on_answer, answer))

    async def _pass_on(self, on_answer: OnAnswer, answer: Answer) -> None:
        await trio.sleep(CONNECT_SECONDS)
        self._reactor.refresh()
        on_answer(answer)


class Far:
    """The way to upstreams that are far away, and a name server of its own."""

    def __init__(self, names: DnsServer, nursery: trio.Nursery) -> None:
        self._names = NameServers(names.client(), ipv6=True)
        self._nursery = nursery

    def open(self, context: te.EdgeContext) -> Connector:
        resolver = FarResolver(context.reactor, self._names, self._nursery)
        self._nursery.start_soon(resolver.run)
        return Connector(context.reactor, resolver)


def service_of(session: te.Session) -> str:
    """By address: in turn an old service and a new one."""
    if session.source == CROWD_SOURCE:
        return "crowd"
    number = int.from_bytes(session.source_bytes, "big") - FIRST_SOURCE
    return f"new-{number // 2}" if number % 2 else f"old-{number // 2 % AT_ONCE}"


async def first_sessions(control: te.MemoryControl, policy: Callable[[str], te.Settings], load: str, port: int,
                         turns: int) -> Values:  # fmt: skip
    """Sessions in turn to an old and to a new upstream, whose name was first looked up half a second ago."""
    first, others = [], []
    for turn in range(-1, turns):
        start = (turn + 1) * AT_ONCE
        names = [f"new-{start + number}" for number in range(AT_ONCE)]
        await control.apply(te.Snapshot({name: policy(name) for name in names}, full=False))
        await trio.sleep(HEAD_START_SECONDS)
        durations = (await ask(load, "cold", port, 2 * AT_ONCE, 2 * start, 0))["ns"]
        if turn >= 0:  # before, code runs that the interpreter has not specialised yet
            others += durations[::2]
            first += durations[1::2]
    return {
        "outbound_warm_us": median(others) / 1e3,
        "outbound_first_us": median(first) / 1e3,
        "outbound_first_ratio": median(first) / median(others),
    }


async def crowd(control: te.MemoryControl, policy: Callable[[str], te.Settings], names: DnsServer, port: int) -> Values:
    """Queries for one name, of each record type, when many want it at once."""

    async def client() -> None:
        (await open_client(port, CROWD_SOURCE, exchange=True)).close()

    await control.put("crowd", policy("crowd"))
    async with trio.open_nursery() as nursery:
        for _ in range(CROWD):
            nursery.start_soon(client)
    return {"outbound_queries": max(count for (name, _), count in names.asked.items() if name == "crowd.test.")}


async def main(echo: str, load: str, turns: int) -> Values:
    hosts = ["old", "crowd", *(f"new-{number}" for number in range((turns + 1) * AT_ONCE))]
    zone = "\n".join(f"{host}.test. 600 IN A 127.0.0.1" for host in hosts)
    delays = {"A": ANSWER_SECONDS, "AAAA": ANSWER_SECONDS}
    with echoing(echo) as upstream:

        def policy(name: str, host: str = "") -> te.Settings:
            return te.Settings(te.Policy(outbound=f"tcp://{host or name}.test:{upstream}", preconnect=1))

        async with dns_server(zone, delay=delays) as names, trio.open_nursery() as nursery:
            control = te.MemoryControl({f"old-{number}": policy("", "old") for number in range(AT_ONCE)})
            endpoint = te.Forward(outbound=Far(names, nursery), allow=["loopback"])
            edge = te.Edge("tcp://127.0.0.1:0", [te.Identify(service_of)], endpoint, control=control)
            async with serving(edge) as port:
                found = await first_sessions(control, policy, load, port, turns)
                found |= await crowd(control, policy, names, port)
            nursery.cancel_scope.cancel()
    return found


if __name__ == "__main__":
    run(main)
