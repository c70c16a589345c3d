"""The context of a run: its services to stages, and its questions to the edge."""

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trioedge as te
from tests.support.names import FakeNames
from tests.support.services import Tenants
from tests.support.shared_memory import make_limits
from trioedge.addresses.address import Address, parse_address
from trioedge.errors import ConfigurationError
from trioedge.loop.reactor import Reactor
from trioedge.services import passwords
from trioedge.services.context import EdgeContext, Outbound, SocketAddress, Upstream
from trioedge.services.service import Service
from trioedge.services.sharing.worker_share import WorkerShare
from trioedge.services.snapshot import Change
from trioedge.serving.listening.rehearsed_listeners import RehearsedListeners
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Outcome, Reason
from trioedge.structures import gcra, live_counts
from trioedge.structures.shared.limits import SharedLimits
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import ScriptedUpstream, make_session, open_edge
from trioedge.testing.context import StillClock
from trioedge.testing.upstream import memory_pair
from trioedge.upstreams.direct import Direct
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.resolver import Resolver

HERE: SocketAddress = (socket.AF_INET, ("192.0.2.9", 80))


class FakeEdge:
    """Keeps what the context asks of it, and answers after `seconds`."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.seconds = 0.0
        self.listeners = RehearsedListeners()

    async def relay(self, session: Session, upstream: Upstream) -> Outcome:
        self.asked.append((session, upstream))
        await trio.sleep(self.seconds)
        return Completed()

    async def resolve(self, address: Address) -> list[SocketAddress]:
        self.asked.append(address)
        await trio.sleep(self.seconds)
        return [HERE]

    async def verify(self, service: str, password: str, source: Session | str | None = None) -> bool:
        self.asked.append((service, password))
        await trio.sleep(self.seconds)
        return True

    def recall(self, service: str, password: str) -> bool | None:
        self.asked.append((service, password))
        return None

    async def wait_draining(self) -> None:
        self.asked.append("draining")
        await trio.sleep(self.seconds)

    def fresh_until(self, address: Address) -> float:
        raise NotImplementedError

    def ask(self, address: Address, on_answer: Callable[[Any], object], asker: object = None) -> None:
        on_answer((HERE,))


@attrs.define
class World:
    tenants: Tenants
    edge: FakeEdge
    clock: StillClock
    context: EdgeContext


def make_world(*, governed: bool = True) -> World:
    tenants, edge, clock = Tenants(governed=governed), FakeEdge(), StillClock(3.0)
    context = EdgeContext(
        log=EdgeLog(),
        control=None,
        outbound=Direct(),
        relays=True,
        reactor=cast(Reactor, clock),
        resolver=edge,
        services=tenants.services,
        sessions=tenants.registry,
        edge=edge,
    )
    return World(tenants, edge, clock, context)


def test_now_is_the_clock_of_the_reactor_read_anew() -> None:
    world = make_world()
    assert world.context.now() == 3.0
    world.clock.now = 4.5
    assert world.context.now() == 4.5


def test_services_and_sessions_are_those_of_the_run_and_read_only() -> None:
    world = make_world()
    context = world.context
    assert (len(context.services), len(context.sessions)) == (0, 0)
    shop, session = world.tenants.put("shop"), world.tenants.come("shop")
    assert context.services["shop"] is shop
    assert list(context.sessions) == list(context.sessions.of(shop)) == [session]
    with pytest.raises(TypeError):
        context.services["cafe"] = shop  # type: ignore[index]
    with pytest.raises(AttributeError):
        context.services = {}  # type: ignore[assignment, misc]
    with pytest.raises(AttributeError):
        context.sessions.add(session)  # type: ignore[attr-defined]


@pytest.mark.parametrize("governed", [True, False])
def test_a_context_says_whether_a_control_plane_names_the_services(governed: bool) -> None:
    assert make_world(governed=governed).context.governed is governed


def test_listeners_are_the_addresses_of_the_edge() -> None:
    world = make_world()
    listeners = world.context.listeners
    assert listeners == ()
    world.edge.listeners.open(parse_address("tcp://127.0.0.1:6380"), world.tenants.put("shop"))
    assert listeners == ("tcp://127.0.0.1:6380",)


def test_a_gate_admits_the_burst_of_each_key_up_to_its_capacity() -> None:
    gate, rate = make_world().context.gate(2), gcra.RateSpec(1, 1)
    assert [gate.admit(key, 0.0, rate) for key in ("a", "a", "b", "c")] == [
        gcra.ADMITTED, gcra.TOO_FAST, gcra.ADMITTED, gcra.FULL,
    ]  # fmt: skip
    assert make_world().context.gate(2).admit("a", 0.0, rate) is gcra.ADMITTED


def test_a_counter_counts_live_sessions_of_each_key_up_to_its_capacity() -> None:
    counter = make_world().context.counter(1)
    assert [counter.enter(key, 1) for key in ("a", "a", "b")] == [
        live_counts.ENTERED, live_counts.TOO_MANY, live_counts.FULL,
    ]  # fmt: skip
    counter.leave("a")
    assert counter.enter("b", 1) is live_counts.ENTERED


def make_share(workers: int = 2, column: int = 0, limits: SharedLimits | None = None) -> WorkerShare:
    return WorkerShare(workers, (limits or make_limits()).of("web", column, 0.0))


def test_tables_of_several_workers_are_shared_unless_a_key_has_one_worker() -> None:
    limits, rate = make_limits(), gcra.RateSpec(1, 1)
    one, other = (attrs.evolve(make_world().context, share=make_share(2, column, limits)) for column in (0, 1))
    shared = [context.gate(9).admit("a", 0.0, rate) for context in (one, other)]
    own = [context.gate(9, "source").admit("192.0.2.1", 0.0, rate) for context in (one, other)]
    assert (shared, own) == ([gcra.ADMITTED, gcra.TOO_FAST], [gcra.ADMITTED, gcra.ADMITTED])
    counted = [context.counter(9).enter("a", 1) for context in (one, other)]
    assert counted == [live_counts.ENTERED, live_counts.TOO_MANY]
    counted = [context.counter(9, "peer").enter("192.0.2.1", 1) for context in (one, other)]
    assert counted == [live_counts.ENTERED, live_counts.ENTERED]


@pytest.mark.parametrize("share", [None, make_share()])
@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, "9"])
def test_a_capacity_that_is_no_count_is_refused(share: WorkerShare | None, capacity: Any) -> None:
    context = attrs.evolve(make_world().context, share=share)
    with pytest.raises(ConfigurationError, match="Gate"):
        context.gate(capacity)
    with pytest.raises(ConfigurationError, match="LiveCounts"):
        context.counter(capacity)


def test_a_number_of_the_whole_edge_is_divided_among_its_workers() -> None:
    context = make_world().context
    assert context.part_of(5) == 5
    assert attrs.evolve(context, share=make_share(2)).part_of(5) == 3


def test_a_watcher_is_called_after_each_change_from_then_on() -> None:
    world, seen = make_world(), list[tuple[Service, Change]]()

    class Watching:
        def changed(self, service: Service, change: Change) -> None:
            seen.append((service, change))

    world.tenants.put("before")
    world.context.watch(Watching())
    shop = world.tenants.put("shop")
    assert seen == [(shop, Change("shop", None, shop.settings))]


def test_traffic_is_followed_session_by_session_and_byte_by_byte_after_a_listen() -> None:
    world, seen = make_world(), list[Service]()
    shop = world.tenants.put("shop")
    world.context.follow_traffic(seen.append)
    session = world.tenants.come("shop")
    shop.up.listen()
    shop.up.add(1)
    shop.up.add(1)
    world.tenants.registry.remove(session)
    assert seen == [shop, shop, shop]


# What it asks of its edge.


async def test_text_is_parsed_before_the_edge_resolves_it() -> None:
    world = make_world()
    address = parse_address("tcp://shop.example:80")
    for given in ("tcp://shop.example:80", address):
        assert await world.context.resolve(given) == [HERE]
    assert world.edge.asked == [address] * 2
    with pytest.raises(te.ConfigurationError, match="must begin with tcp://"):
        await world.context.resolve("shop.example")


async def test_relay_verify_and_recall_pass_their_arguments_to_the_edge() -> None:
    world, session = make_world(), make_session()
    assert await world.context.relay(session, "tcp://192.0.2.9:80") == Completed()
    assert await world.context.verify("shop", "secret")
    assert world.context.recall("shop", "other") is None
    assert world.edge.asked == [(session, "tcp://192.0.2.9:80"), ("shop", "secret"), ("shop", "other")]


CALLS: dict[str, Callable[[EdgeContext], Awaitable[object]]] = {
    "relay": lambda context: context.relay(make_session(), "tcp://192.0.2.9:80"),
    "resolve": lambda context: context.resolve("tcp://shop.example:80"),
    "verify": lambda context: context.verify("shop", "secret"),
    "wait_draining": lambda context: context.wait_draining(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_cancel_reaches_the_edge(
    call: Callable[[EdgeContext], Awaitable[object]], autojump_clock: MockClock
) -> None:
    world = make_world()
    world.edge.seconds = 60.0
    with trio.move_on_after(1) as scope:
        await call(world.context)
    assert scope.cancelled_caught
    assert trio.current_time() == 1


def test_an_outbound_is_known_by_its_connect() -> None:
    class Own:
        async def connect(self, address: Address, /) -> socket.socket:
            raise OSError

    assert isinstance(Own(), Outbound)
    assert not isinstance(te.Forward("tcp://127.0.0.1:1"), Outbound)


# On an edge that serves.


class ByContext:
    """An endpoint that keeps its context, and relays every session to `upstream`."""

    relays = True

    def __init__(self, upstream: Upstream = "tcp://192.0.2.9:80") -> None:
        self.upstream = upstream
        self.context: EdgeContext | None = None

    def open(self, context: EdgeContext) -> "ByContext":
        self.context = context
        return self

    async def handle(self, session: te.Session) -> te.Outcome:
        assert self.context is not None
        return await self.context.relay(session, self.upstream)


def make_edge(endpoint: ByContext, control: te.ControlPlane | None = None) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:6380", [], endpoint, control=control)


async def test_an_endpoint_that_relays_by_its_context_has_its_bytes_counted(autojump_clock: MockClock) -> None:
    endpoint = ByContext()
    async with open_edge(make_edge(endpoint)) as world:
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        assert endpoint.context is not None
        service = endpoint.context.services["default"]
        assert (service.live, service.up.bytes, service.down.bytes) == (1, 4, 4)
        assert list(endpoint.context.sessions) == [client.session]
        await client.finish()
        assert await client.ended() == Completed()
        assert (service.live, client.session.bytes_up, client.session.bytes_down) == (0, 4, 4)


async def test_relay_to_a_stream_uses_that_stream_and_closes_it(autojump_clock: MockClock) -> None:
    ours, theirs = memory_pair(lockstep=False)
    async with open_edge(make_edge(ByContext(ours))) as world:
        client = await world.connect()
        await client.send(b"ping")
        assert await theirs.receive_some() == b"ping"
        await client.finish()
        assert await theirs.receive_some() == b""
        await theirs.send_eof()
        assert await client.ended() == Completed()
        assert world.upstream.asked == []
        with pytest.raises(trio.ClosedResourceError):
            await ours.send_all(b"x")


async def test_relay_to_an_upstream_that_refuses_is_completed_with_the_reason(autojump_clock: MockClock) -> None:
    upstream = ScriptedUpstream(refusal=Reason.UPSTREAM_REFUSED)
    async with open_edge(make_edge(ByContext()), upstream) as world:
        client = await world.connect()
        outcome = await client.ended()
        assert outcome == Completed(Reason.UPSTREAM_REFUSED, "tcp://192.0.2.9:80: as the test wants it")


async def test_relay_waits_five_seconds_for_a_connect(autojump_clock: MockClock) -> None:
    upstream = ScriptedUpstream(connect_seconds=60)
    async with open_edge(make_edge(ByContext()), upstream) as world:
        began = trio.current_time()
        outcome = await (await world.connect()).ended()
        assert outcome.reason is Reason.UPSTREAM_TIMEOUT
        assert trio.current_time() - began == 5


@pytest.mark.parametrize("connect_seconds", [0, 60], ids=["relaying", "connecting"])
async def test_an_eviction_ends_a_relay_and_closes_both_sides(
    connect_seconds: float, autojump_clock: MockClock
) -> None:
    ended = trio.Event()

    async def until_closed(stream: trio.abc.HalfCloseableStream) -> None:
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        ended.set()

    upstream = ScriptedUpstream(until_closed, connect_seconds=connect_seconds)
    async with open_edge(make_edge(ByContext()), upstream) as world:
        client = await world.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert world.edge.evict(source="192.0.2.1") == 1
        assert await client.ended() == Completed(Reason.EVICTED)
        assert await client.receive_all() == b""
        if not connect_seconds:
            await ended.wait()


async def test_relay_to_text_that_is_no_address_is_a_fault_of_the_session(autojump_clock: MockClock) -> None:
    async with open_edge(make_edge(ByContext("nowhere"))) as world:
        outcome = await (await world.connect()).ended()
        assert outcome.reason is Reason.FAULT
        assert "must begin with tcp://" in outcome.detail


async def test_resolve_waits_for_the_first_answer_and_gives_the_next_from_memory(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = FakeNames(shop=["192.0.2.9"], mute=None)
    monkeypatch.setattr("trioedge.serving.run.Resolver", partial(Resolver, names=names))
    endpoint = ByContext()
    async with open_edge(make_edge(endpoint)):
        context = endpoint.context
        assert context is not None
        for _ in range(2):
            assert list(await context.resolve("tcp://shop.example:80")) == [HERE]
        assert names.asked == ["shop.example"]
        with pytest.raises(UpstreamError) as failure:
            await context.resolve("tcp://mute.example:80")
        assert failure.value.reason is Reason.UPSTREAM_UNRESOLVED


async def test_after_a_cancelled_resolve_the_answer_is_remembered(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(FakeNames):
        async def look_up(self, host: str, due: float) -> Any:
            await trio.sleep(2)
            return await super().look_up(host, due)

    names = Late(shop=["192.0.2.9"])
    monkeypatch.setattr("trioedge.serving.run.Resolver", partial(Resolver, names=names))
    endpoint = ByContext()
    async with open_edge(make_edge(endpoint)):
        context = endpoint.context
        assert context is not None
        with trio.move_on_after(1) as scope:
            await context.resolve("tcp://shop.example:80")
        assert scope.cancelled_caught
        await trio.sleep(2)
        began = trio.current_time()
        assert list(await context.resolve("tcp://shop.example:80")) == [HERE]
        assert trio.current_time() == began
        assert names.asked == ["shop.example"]


async def test_verify_knows_the_password_of_an_enabled_service_and_of_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "COST_LOG2", 1)
    credentials = te.Credentials(te.hash_password("secret"))
    control = te.MemoryControl(
        {
            "shop": te.Settings(credentials=credentials),
            "off": te.Settings(te.Policy(enabled=False), credentials),
            "none": te.Settings(),
        }
    )
    endpoint = ByContext()
    async with open_edge(make_edge(endpoint, control)):
        context = endpoint.context
        assert context is not None
        assert await context.verify("shop", "secret")
        assert not await context.verify("shop", "wrong")
        for name in ("off", "none", "ghost"):
            assert not await context.verify(name, "secret")


async def test_the_listeners_of_an_edge_have_their_real_ports() -> None:
    endpoint = ByContext()
    edge = te.Edge(["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"], [], endpoint)
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        assert endpoint.context is not None
        listeners = endpoint.context.listeners
        assert listeners == edge.addresses
        assert all(not each.endswith(":0") for each in listeners)
        assert all(one != other for one, other in pairwise(listeners))
        nursery.cancel_scope.cancel()
