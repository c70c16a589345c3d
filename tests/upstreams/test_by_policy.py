"""The upstreams of policies, and their idle connections over all policies; with a connector that never connects."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from trioedge.control.memory import MemoryControl
from trioedge.loop.reactor import Reactor
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import Service
from trioedge.services.services import Services
from trioedge.services.snapshot import Change
from trioedge.session.verdict import Reason
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_context
from trioedge.upstreams import by_policy
from trioedge.upstreams.attempt import Attempt, ConnectCallback
from trioedge.upstreams.by_policy import MAX_IDLE, PolicyUpstreams, max_idle
from trioedge.upstreams.connector import Target
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.upstream import Upstream
from trioedge.upstreams.ways.named import NamedOutbounds


class Asked:
    """A connector that never connects, and notes what it is asked for."""

    plain = True

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.warmed: list[str] = []
        self.connecting: list[str] = []
        self.forbidden = ""

    def warm(self, target: Target, failed: Callable[[UpstreamError], object]) -> None:
        self.warmed.append(str(target.address))
        if target.address.host == self.forbidden:
            failed(UpstreamError(Reason.UPSTREAM_FORBIDDEN, f"{target.address}: not there"))

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:
        self.connecting.append(str(target.address))
        return Attempt(self._reactor, target.address, self._reactor.now + 1e9, callback)

    async def open_stream(self, target: Target) -> trio.abc.HalfCloseableStream:
        raise NotImplementedError


@attrs.define
class World:
    services: Services
    upstreams: PolicyUpstreams
    asked: Asked

    def put(self, name: str, policy: Policy | None) -> Upstream | None:
        """Apply a policy; None removes the service."""
        upstream = self.apply(name, policy)
        for _ in self.services.watchers.settle():
            pass
        return upstream

    def apply(self, name: str, policy: Policy | None) -> Upstream | None:
        """Apply it as one of several in a snapshot, which is not settled yet."""
        found = self.services.get(name)
        before = None if found is None else found.settings
        after = None if policy is None else Settings(policy)
        fields = ("outbound", "preconnect") if before and after else ()
        change = Change(name, before, after, fields)
        service: Service = self.services.apply(change, None)
        for _ in self.services.watchers.notify(service, change):
            pass
        upstream: Upstream | None = service.upstream
        return upstream


@asynccontextmanager
async def open_world(monkeypatch: pytest.MonkeyPatch, units: int = 10) -> AsyncIterator[World]:
    monkeypatch.setattr(by_policy, "max_idle", lambda: units)
    reactor = Reactor(EdgeLog())
    control = MemoryControl({})
    context = attrs.evolve(make_context(control=control), reactor=reactor)
    services = context._services
    asked = Asked(reactor)
    outbounds = NamedOutbounds(asked, context, 5.0, 0)
    upstreams = PolicyUpstreams(outbounds, context, 5.0, lambda _, answer: answer)
    async with trio.open_nursery() as nursery:
        await nursery.start(upstreams.run)
        yield World(services, upstreams, asked)
        nursery.cancel_scope.cancel()
    assert nursery.child_tasks == frozenset()


def to(host: str, preconnect: int = 0) -> Policy:
    return Policy(outbound=f"tcp://{host}.test:1", preconnect=preconnect)


async def test_a_destination_is_one_object_while_a_policy_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_an_upstream_that_is_named_again_while_another_is_removed_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_world(monkeypatch) as world:
        one, two = world.put("a", to("one")), world.put("b", to("two"))
        world.apply("a", None)
        world.apply("b", None)
        settling = world.services.watchers.settle()
        while len(world.upstreams) == 2:
            next(settling)  # one of them is removed, and a later snapshot takes away meanwhile
        again = world.apply("a", to("one"))
        world.apply("a", to("two"))
        assert again is not one
        for _ in settling:
            pass
        for _ in world.services.watchers.settle():
            pass
        assert world.services.get("a").upstream is two  # type: ignore[union-attr]
        assert len(world.upstreams) == 1


async def test_an_upstream_that_another_service_names_in_the_same_snapshot_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_world(monkeypatch) as world:
        one = world.put("a", to("one", 2))
        await trio.testing.wait_all_tasks_blocked()
        world.apply("a", to("two", 1))
        world.apply("b", to("one", 3))
        for _ in world.services.watchers.settle():
            pass
        assert world.services.get("b").upstream is one  # type: ignore[union-attr]
        await trio.testing.wait_all_tasks_blocked()
        assert world.asked.connecting.count("tcp://one.test:1") == 3, "two of them were there already"
        assert world.asked.warmed == ["tcp://one.test:1", "tcp://two.test:1"]


async def test_idle_connections_are_bounded_over_all_policies_and_granted_first_come_first_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_world(monkeypatch, units=10) as world:
        with capture_logs() as logs:
            one, two, three = (world.put(name, to(name, 6)) for name in ("one", "two", "three"))
        assert one is not None is not two
        assert three is not None
        assert [each.preconnect for each in (one, two, three)] == [6, 4, 0]
        assert [(each["upstream"], each["wanted"], each["ready"]) for each in logs] == [
            ("tcp://two.test:1", 6, 4), ("tcp://three.test:1", 6, 0),
        ]  # fmt: skip
        await trio.testing.wait_all_tasks_blocked()
        assert len(world.asked.connecting) == 10
        world.put("one", to("one", 1))
        assert [each.preconnect for each in (one, two, three)] == [1, 6, 3]
        world.put("two", None)
        assert [each.preconnect for each in (one, three)] == [1, 6]
        world.put("one", None)
        world.put("three", None)
        assert len(world.upstreams) == 0


async def test_a_forbidden_upstream_is_logged_when_its_policy_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world(monkeypatch) as world:
        world.asked.forbidden = "one.test"
        with capture_logs() as logs:
            world.put("a", to("one"))
            world.put("a", to("two"))
        assert [(each["event"], each["reason"]) for each in logs] == [("upstream failed", "upstream_forbidden")]


async def test_upstreams_that_are_named_while_the_edge_stops_are_not_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world(monkeypatch) as world:
        world.put("a", to("one", 2))
    world.put("b", to("two", 2))
    world.put("a", None)
    assert world.asked.warmed == ["tcp://one.test:1"]
    assert len(world.upstreams) == 1


@pytest.mark.parametrize(("files", "units"), [(1024, 128), (64, 8), (1_048_576, MAX_IDLE)])
def test_idle_connections_take_an_eighth_of_the_file_descriptors(
    files: int, units: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, files))
    assert max_idle() == units
