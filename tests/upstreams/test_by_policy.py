"""Which upstreams there are, and how many connections they keep ready over all policies; from a fake way out."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from trioedge.addresses.address import Address
from trioedge.loop.reactor import Reactor
from trioedge.services.context import EdgeContext
from trioedge.services.policy import Policy, Settings
from trioedge.services.registry import Registry
from trioedge.services.service import Service
from trioedge.services.services import Services
from trioedge.services.snapshot import Change
from trioedge.session.meter import Total
from trioedge.session.verdict import Reason
from trioedge.telemetry.observer import Observer
from trioedge.upstreams import by_policy as upstreams_module
from trioedge.upstreams.by_policy import MAX_READY, PolicyUpstreams, most_ready
from trioedge.upstreams.connector import Attempt, ConnectCallback
from trioedge.upstreams.direct import Direct
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.resolver import Resolver
from trioedge.upstreams.upstream import Upstream


class Asked:
    """A way out that never gets there, and remembers whom it was asked for."""

    plain = True

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.warmed: list[str] = []
        self.connecting: list[str] = []
        self.forbidden = ""

    def warm(self, address: Address, failed: Callable[[UpstreamError], object]) -> None:
        self.warmed.append(str(address))
        if address.host == self.forbidden:
            failed(UpstreamError(Reason.UPSTREAM_FORBIDDEN, f"{address}: not there"))

    def start(self, address: Address, seconds: float, waiter: ConnectCallback) -> Attempt:
        self.connecting.append(str(address))
        return Attempt(self._reactor, address, self._reactor.now + 1e9, waiter)

    async def open_stream(self, address: Address, seconds: float) -> trio.abc.HalfCloseableStream:
        raise NotImplementedError


@attrs.define
class World:
    services: Services
    upstreams: PolicyUpstreams
    asked: Asked

    def put(self, name: str, policy: Policy | None) -> Upstream | None:
        """Let a policy hold; None for a service that goes."""
        upstream = self.apply(name, policy)
        for _ in self.services.settle():
            pass
        return upstream

    def apply(self, name: str, policy: Policy | None) -> Upstream | None:
        """The same as one of several in a snapshot."""
        found = self.services.get(name) if name in self.services else None
        before = None if found is None else found.settings
        after = None if policy is None else Settings(policy)
        fields = ("outbound", "preconnect") if before and after else ()
        change = Change(name, before, after, fields)
        service: Service = self.services.apply(change, None)
        for _ in self.services.tell(service, change):
            pass
        upstream: Upstream | None = service.upstream
        return upstream


@asynccontextmanager
async def open_world(monkeypatch: pytest.MonkeyPatch, most: int = 10) -> AsyncIterator[World]:
    monkeypatch.setattr(upstreams_module, "most_ready", lambda: most)
    reactor = Reactor(Observer())
    services = Services(Total(), Total(), governed=True)
    context = EdgeContext(reactor, Resolver(reactor), Observer(), Direct(), services, Registry(services))
    asked = Asked(reactor)
    upstreams = PolicyUpstreams(asked, context, 5.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(upstreams.run)
        yield World(services, upstreams, asked)
        nursery.cancel_scope.cancel()
    assert nursery.child_tasks == frozenset()


def to(host: str, preconnect: int = 0) -> Policy:
    return Policy(outbound=f"tcp://{host}.test:1", preconnect=preconnect)


async def test_a_destination_is_one_object_for_as_long_as_a_policy_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world(monkeypatch) as world:
        one = world.put("a", to("one"))
        assert one is not None
        assert world.put("b", to("one", 2)) is one
        assert (one.users, one.preconnect, len(world.upstreams)) == (2, 2, 1)
        assert world.put("a", to("one", 3)) is one
        assert one.preconnect == 5
        two = world.put("a", to("two"))
        assert two is not one
        assert (one.users, one.preconnect, len(world.upstreams)) == (1, 2, 2)
        assert world.put("b", Policy()) is None
        assert world.put("a", None) is None
        assert len(world.upstreams) == 0
        assert world.put("b", to("one")) is not one
        assert world.asked.warmed == ["tcp://one.test:1", "tcp://two.test:1", "tcp://one.test:1"]


async def test_one_that_another_service_names_in_the_same_snapshot_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_world(monkeypatch) as world:
        one = world.put("a", to("one", 2))
        await trio.testing.wait_all_tasks_blocked()
        world.apply("a", to("two", 1))
        world.apply("b", to("one", 3))
        for _ in world.services.settle():
            pass
        assert world.services.get("b").upstream is one  # type: ignore[union-attr]
        await trio.testing.wait_all_tasks_blocked()
        assert world.asked.connecting.count("tcp://one.test:1") == 3, "two of them were there already"
        assert world.asked.warmed == ["tcp://one.test:1", "tcp://two.test:1"]


async def test_what_all_policies_keep_ready_is_bounded_and_goes_to_who_came_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_world(monkeypatch, most=10) as world:
        with capture_logs() as logs:
            one, two, three = (world.put(name, to(name, 6)) for name in ("one", "two", "three"))
        assert one is not None is not two
        assert three is not None
        assert [each.preconnect for each in (one, two, three)] == [6, 4, 0]
        assert [(each["upstream"], each["wanted"], each["ready"]) for each in logs] == [("tcp://two.test:1", 6, 4)]
        await trio.testing.wait_all_tasks_blocked()
        assert len(world.asked.connecting) == 10
        world.put("one", to("one", 1))
        assert [each.preconnect for each in (one, two, three)] == [1, 6, 3]
        world.put("two", None)
        assert [each.preconnect for each in (one, three)] == [1, 6]
        world.put("one", None)
        world.put("three", None)
        assert len(world.upstreams) == 0


async def test_an_upstream_that_is_forbidden_is_known_when_its_policy_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world(monkeypatch) as world:
        world.asked.forbidden = "one.test"
        with capture_logs() as logs:
            world.put("a", to("one"))
            world.put("a", to("two"))
        assert [(each["event"], each["reason"]) for each in logs] == [("upstream failed", "upstream_forbidden")]


async def test_at_its_end_nothing_is_warmed_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world(monkeypatch) as world:
        world.put("a", to("one", 2))
    world.put("b", to("two", 2))
    world.put("a", None)
    assert world.asked.warmed == ["tcp://one.test:1"]
    assert len(world.upstreams) == 1


@pytest.mark.parametrize(("files", "most"), [(1024, 128), (64, 8), (1_048_576, MAX_READY)])
def test_it_takes_an_eighth_of_what_may_be_open(files: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, files))
    assert most_ready() == most
