"""A resolver with fake name servers."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing

from tests.support.names import NO_HOSTS, FakeNames
from trioedge.addresses.address import Address
from trioedge.loop.reactor import Reactor
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams.hosts_file import HostsFile
from trioedge.upstreams.lookup import Lookup
from trioedge.upstreams.resolver import Answer, Resolver

REDIS = Address("tcp", "redis.test", 6379)


class Run:
    """A resolver, its reactor and the name servers that it queries."""

    def __init__(self, names: FakeNames, hosts: Path = NO_HOSTS) -> None:
        self.names = names
        self.reactor = Reactor(EdgeLog())
        self.resolver = Resolver(self.reactor, names, HostsFile(hosts), EdgeLog())

    def ask(self, address: Address = REDIS) -> list[Answer]:
        """Ask as a session does, and give a list that gets the answer once it is there."""
        self.reactor.refresh()
        answers: list[Answer] = []
        self.resolver.ask(address, answers.append)
        return answers

    async def answer(self, address: Address = REDIS) -> Answer:
        """Ask, wait until the worker is idle, and give the answer."""
        answers = self.ask(address)
        await trio.testing.wait_all_tasks_blocked()
        (answer,) = answers
        return answer


@asynccontextmanager
async def running(names: FakeNames, hosts: Path = NO_HOSTS) -> AsyncIterator[Run]:
    async with trio.open_nursery() as nursery:
        run = Run(names, hosts)
        await nursery.start(run.resolver.run)
        yield run
        nursery.cancel_scope.cancel()


class CountingNames(FakeNames):
    """Counts the queries at the same time; those for `slow` names are never answered."""

    def __init__(self) -> None:
        super().__init__(slow=None, quick=["192.0.2.1"])
        self.now = self.max_now = 0

    async def look_up(self, host: str, due: float) -> Lookup:
        self.now += 1
        self.max_now = max(self.max_now, self.now)
        try:
            return await super().look_up(host, due)
        finally:
            self.now -= 1


def asked_by(run: Run, askers: int, names: Iterable[str], prefix: str = "service") -> list[list[Answer]]:
    """Ask for names, the askers in turn."""
    run.reactor.refresh()
    waiting: list[list[Answer]] = []
    for number, name in enumerate(names):
        waiting.append([])
        run.resolver.ask(Address("tcp", name, 1), waiting[-1].append, f"{prefix} {number % askers}")
    return waiting
