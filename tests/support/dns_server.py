"""A DNS server on loopback, over UDP and TCP: as slow, silent or broken as a test or a measurement says."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import lru_cache

import attrs
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

from tests.support.wires import receive_exactly

UDP_BYTES = 512


@attrs.define(eq=False)
class DnsServer:
    """Answers from a few records, and counts the queries.

    Attributes:
        zone: records as in a zone file, with absolute names: ``redis.test. 60 IN A 127.0.0.1``. If a SOA record is
            among them, negative answers have it.
        delay: seconds before an answer, by record type or by name; by default 0.
        silent: record types and names that are never answered.
        failing: names that get SERVFAIL.
        asked: the number of queries by name and type, over UDP and TCP: ``("redis.test.", "A")``.
        over_tcp: how many of them came over TCP.
        port: of UDP and of TCP.
    """

    zone: str = ""
    delay: Mapping[str, float] = attrs.field(factory=dict)
    silent: Collection[str] = ()
    failing: Collection[str] = ()
    asked: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    over_tcp: int = 0
    port: int = 0

    def client(self, *, search: Iterable[str] = (), ndots: int = 1) -> dns.asyncresolver.Resolver:
        """Make a resolver that queries this server and ignores the configuration of the machine."""
        client = dns.asyncresolver.Resolver(configure=False)
        client.nameservers = ["127.0.0.1"]
        client.port = self.port
        client.domain = dns.name.root
        client.search = [dns.name.from_text(domain) for domain in search]
        client.ndots = ndots
        return client

    def respond(self, query: dns.message.Message) -> dns.message.Message:
        """Answer a query from the records, and follow aliases among them."""
        (question,) = query.question
        response = dns.message.make_response(query, recursion_available=True)
        if question.name.to_text() in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response
        records = _read(self.zone)
        name = question.name
        while alias := _find(records, name, dns.rdatatype.CNAME):
            response.answer.append(alias)
            name = alias[0].target
        if answer := _find(records, name, question.rdtype):
            response.answer.append(answer)
        else:
            if not any(each.name == name for each in records):
                response.set_rcode(dns.rcode.NXDOMAIN)
            response.authority = [
                each for each in records if each.rdtype == dns.rdatatype.SOA and name.is_subdomain(each.name)
            ]
        return response

    async def answer(self, wire: bytes, size: int) -> bytes:
        """Give the answer to a query in at most `size` bytes, after its delay."""
        query = dns.message.from_wire(wire)
        (question,) = query.question
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        if name in self.silent or kind in self.silent:
            await trio.sleep_forever()
        await trio.sleep(max(self.delay.get(name, 0), self.delay.get(kind, 0)))
        response = self.respond(query)
        try:
            return response.to_wire(max_size=size)
        except dns.exception.TooBig:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()


@lru_cache
def _read(zone: str) -> list[dns.rrset.RRset]:
    found: dict[tuple[str, str], list[str]] = {}
    ttls: dict[tuple[str, str], int] = {}
    for name, ttl, _, kind, data in (line.split(None, 4) for line in zone.splitlines() if line.strip()):
        found.setdefault((name, kind), []).append(data)
        ttls[name, kind] = int(ttl)
    return [dns.rrset.from_text(name, ttls[name, kind], "IN", kind, *found[name, kind]) for name, kind in found]


def _find(records: list[dns.rrset.RRset], name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
    return next((each for each in records if each.name == name and each.rdtype == kind), None)


@asynccontextmanager
async def dns_server(
    zone: str = "",
    *,
    delay: Mapping[str, float] | None = None,
    silent: Collection[str] = (),
    failing: Collection[str] = (),
) -> AsyncIterator[DnsServer]:
    """Serve for the length of the block."""
    server = DnsServer(zone, delay or {}, silent, failing)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as udp:
            server.port = listener.socket.getsockname()[1]
            await udp.bind(("127.0.0.1", server.port))

            async def serve_udp() -> None:
                while True:
                    wire, client = await udp.recvfrom(UDP_BYTES)
                    nursery.start_soon(answer_udp, wire, client)

            async def answer_udp(wire: bytes, client: tuple[str, int]) -> None:
                await udp.sendto(await server.answer(wire, UDP_BYTES), client)

            async def serve_tcp(stream: trio.SocketStream) -> None:
                with suppress(trio.BrokenResourceError):  # the client has gone
                    async with stream:
                        head = await receive_exactly(stream, 2)
                        wire = await receive_exactly(stream, int.from_bytes(head, "big"))
                        if wire:
                            server.over_tcp += 1
                            response = await server.answer(wire, 65535)
                            await stream.send_all(len(response).to_bytes(2, "big") + response)

            nursery.start_soon(serve_udp)
            nursery.start_soon(trio.serve_listeners, serve_tcp, [listener])
            yield server
            nursery.cancel_scope.cancel()
