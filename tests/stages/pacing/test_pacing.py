"""Rates over an edge in memory, where a timeline keeps them; over real sockets in tests/integration/test_rates.py."""

from typing import Any

import pytest
import trio
import trio.testing

import trioedge as te
from trioedge.testing import Client, Rehearsal, ScriptedUpstream, open_edge

RATE = 100_000.0


def edge(*stages: object, control: te.MemoryControl | None = None) -> te.Edge:
    """Make an edge: sources of 198.51.100.0/24 are of the bank, all others of the shop."""

    def by_network(session: te.Session) -> str:
        return "bank" if session.source.startswith("198.51.100.") else "shop"

    return te.Edge(
        "tcp://127.0.0.1:0", [te.Identify(by_network), *stages], te.Forward("tcp://192.0.2.9:6379"), control=control
    )


async def pour(stream: trio.abc.HalfCloseableStream) -> None:
    """Send ten times the rate, as far as it is accepted, and receive everything."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drink, stream)
        while True:
            await trio.sleep(0.04)
            await stream.send_all(bytes(int(RATE * 0.4)))


async def drink(stream: trio.abc.HalfCloseableStream) -> None:
    while await stream.receive_some(65536):
        pass


def upstream(script: Any = pour) -> ScriptedUpstream:
    """Make an upstream without a buffer between the two, so that a fast side waits for a slow one."""
    return ScriptedUpstream(script, lockstep=True)


class Crowd:
    """Clients that send and receive as fast as they can, for as long as the edge serves."""

    def __init__(self, world: Rehearsal, nursery: trio.Nursery) -> None:
        self._world = world
        self._nursery = nursery
        self.clients: list[Client] = []

    async def join(self, number: int, source: str = "192.0.2.1") -> list[Client]:
        clients = [await self._world.connect(source, lockstep=True) for _ in range(number)]
        for client in clients:
            self._nursery.start_soon(self._play, client)
        self.clients += clients
        return clients

    async def _play(self, client: Client) -> None:
        try:
            await pour(client.stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def rates(self, seconds: float, clients: list[Client] | None = None) -> tuple[float, float]:
        """Measure what these clients, or all, move down and up, in bytes a second."""
        sessions = [client.session for client in (self.clients if clients is None else clients)]
        before = [(session.bytes_down, session.bytes_up) for session in sessions]
        began = trio.current_time()
        await trio.sleep(seconds)
        took = trio.current_time() - began
        moved = [(one.bytes_down - down, one.bytes_up - up) for one, (down, up) in zip(sessions, before, strict=True)]
        return sum(down for down, _ in moved) / took, sum(up for _, up in moved) / took


def near(rate: float) -> object:
    return pytest.approx(rate, rel=0.06)


@pytest.mark.parametrize("flows", [1, 3])
async def test_the_rate_of_a_service_is_the_sum_over_its_sessions_in_both_directions(
    flows: int, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_edge(edge(te.Pacing(RATE, RATE / 2)), upstream()) as world:
        crowd = Crowd(world, nursery)
        clients = await crowd.join(flows)
        await trio.sleep(1)
        assert await crowd.rates(5) == (near(RATE), near(RATE / 2))
        assert {client.session.pacing for client in clients} == {"timeline"}
    nursery.cancel_scope.cancel()


async def test_a_service_at_its_limit_does_not_slow_another(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_edge(edge(te.Pacing(RATE, RATE)), upstream()) as world:
        crowd = Crowd(world, nursery)
        shop, bank = await crowd.join(2, "192.0.2.1"), await crowd.join(1, "198.51.100.1")
        await trio.sleep(1)
        assert await crowd.rates(3, shop) == (near(RATE), near(RATE))
        assert await crowd.rates(3, bank) == (near(RATE), near(RATE))
    nursery.cancel_scope.cancel()


async def test_a_policy_that_changes_retunes_live_sessions(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    control = te.MemoryControl({"shop": te.Policy(down_rate=RATE)})
    async with open_edge(edge(te.Pacing(), control=control), upstream()) as world:
        crowd = Crowd(world, nursery)
        await crowd.join(2)
        await trio.sleep(1)
        for rate in (4 * RATE, RATE / 2):
            plan = await control.put("shop", te.Policy(down_rate=rate))
            assert plan.retuned == 2
            await trio.sleep(1.5)  # a tick, and the wait of the timeline that is under way
            down, up = await crowd.rates(4)
            assert down == near(rate)
            assert up > 10 * RATE, "because it has no limit"
    nursery.cancel_scope.cancel()


async def test_a_policy_may_gain_a_rate_and_lose_it_while_sessions_live(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    control = te.MemoryControl({"shop": te.Policy()})
    async with open_edge(edge(te.Pacing(), control=control), upstream()) as world:
        crowd = Crowd(world, nursery)
        clients = await crowd.join(2)
        for policy, pacing, rate in (
            (te.Policy(), "", 20 * RATE),
            (te.Policy(down_rate=RATE), "timeline", RATE),
            (te.Policy(), "", 20 * RATE),
            (te.Policy(up_rate=RATE, down_rate=2 * RATE), "timeline", 2 * RATE),
        ):
            await control.put("shop", policy)
            await trio.sleep(1.5)
            assert {client.session.pacing for client in clients} == {pacing}
            assert (await crowd.rates(3))[0] == near(rate)
    nursery.cancel_scope.cancel()


async def test_the_policy_takes_precedence_over_the_arguments(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    control = te.MemoryControl({"shop": te.Policy(down_rate=2 * RATE), "bank": te.Policy()})
    async with open_edge(edge(te.Pacing(RATE, RATE), control=control), upstream()) as world:
        crowd = Crowd(world, nursery)
        shop, bank = await crowd.join(1, "192.0.2.1"), await crowd.join(1, "198.51.100.1")
        await trio.sleep(1)
        assert await crowd.rates(3, shop) == (near(2 * RATE), near(RATE))
        assert await crowd.rates(3, bank) == (near(RATE), near(RATE))
    nursery.cancel_scope.cancel()


async def test_a_service_at_its_byte_limit_opens_sessions_as_fast_as_an_idle_one(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """It has its whole burst too, and its new sessions are answered as soon."""

    async def pour_or_echo(stream: trio.abc.HalfCloseableStream) -> None:
        if await stream.receive_some(1) == b"?":
            await stream.send_all(b"!")
        else:
            await pour(stream)

    stages = te.SessionGate(rate=1, burst=5), te.Pacing(RATE, RATE)
    async with open_edge(edge(*stages), upstream(pour_or_echo)) as world:
        crowd = Crowd(world, nursery)
        await crowd.join(3, "192.0.2.1")
        await trio.sleep(10)
        assert await crowd.rates(2) == (near(RATE), near(RATE))
        took: dict[str, list[float]] = {}
        for source in ("192.0.2.1", "198.51.100.1"):
            admitted = 0
            for _ in range(6):
                began = trio.current_time()
                client = await world.connect(source, lockstep=True)
                if client.outcome is None:
                    admitted += 1
                    await client.send(b"?")
                    assert await client.receive(1) == b"!"
                    took.setdefault(source, []).append(trio.current_time() - began)
            assert admitted == 5
        assert [max(times) for times in took.values()] == [pytest.approx(0, abs=0.02)] * 2
    nursery.cancel_scope.cancel()


async def test_sessions_that_a_later_decision_refuses_take_no_share(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    @te.decision
    def picky(session: te.Session) -> te.Verdict:
        return te.CONTINUE if session.source == "192.0.2.1" else te.Reject(te.Reason.POLICY)

    async with open_edge(edge(te.Pacing(RATE, RATE), picky), upstream()) as world:
        crowd = Crowd(world, nursery)
        (client,) = await crowd.join(1)
        await trio.sleep(1)
        for _ in range(20):
            for _ in range(5):
                assert (await world.connect("192.0.2.2")).outcome is not None
            await trio.sleep(0.05)
            assert client.session.down_rate > 0.9 * RATE
    nursery.cancel_scope.cancel()


async def test_sessions_are_paced_behind_a_middleware(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    @te.middleware
    async def handshake(session: te.Session, call_next: te.Handler) -> te.Outcome:
        await trio.sleep(0.25)
        return await call_next(session)

    async with open_edge(edge(handshake, te.Pacing(RATE, RATE)), upstream()) as world:
        crowd = Crowd(world, nursery)
        await crowd.join(3)
        await trio.sleep(2)
        assert await crowd.rates(3) == (near(RATE), near(RATE))
    nursery.cancel_scope.cancel()


async def test_an_edge_that_stops_leaves_no_task_and_may_serve_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    once_more = edge(te.Pacing(RATE, RATE))
    tasks = trio.lowlevel.current_statistics().tasks_living
    for _ in range(2):
        async with trio.open_nursery() as clients:
            async with open_edge(once_more, upstream()) as world:
                crowd = Crowd(world, clients)
                await crowd.join(2)
                await trio.sleep(1)
                assert await crowd.rates(2) == (near(RATE), near(RATE))
            clients.cancel_scope.cancel()
        assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_one_recipe_paces_each_of_two_edges_by_itself(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    pacing = te.Pacing(RATE, RATE)
    async with open_edge(edge(pacing), upstream()) as one, open_edge(edge(pacing), upstream()) as other:
        crowds = [Crowd(world, nursery) for world in (one, other)]
        for crowd in crowds:
            await crowd.join(2)
        await trio.sleep(1)
        for crowd in crowds:
            assert await crowd.rates(3) == (near(RATE), near(RATE))
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("argument", ["down_rate", "up_rate"])
@pytest.mark.parametrize("rate", [0, -1, "fast", "10 MB", float("nan"), float("inf"), True])
def test_a_bad_rate_is_quoted_with_its_argument(argument: str, rate: Any) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        te.Pacing(**{argument: rate})
    assert str(refusal.value).startswith(f"Pacing({argument}=...): rate {rate!r} must be at least 1, in bytes a second")


def test_a_rate_that_may_be_bits_or_bytes_is_refused_with_both() -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        te.Pacing(up_rate="10 Mb/s")
    assert str(refusal.value) == (
        "Pacing(up_rate=...): rate '10 Mb/s' may be bits or bytes: "
        "did you mean '10 MB/s' (bytes) or '10 Mbit/s' (bits)?"
    )


def test_pacing_prints_its_rates_in_bytes() -> None:
    assert repr(te.Pacing()) == "Pacing()"
    assert repr(te.Pacing("10 MB/s")) == "Pacing(down_rate='10 MB/s')"
    assert repr(te.Pacing(1e6, "8 Mbit/s")) == "Pacing(down_rate='1 MB/s', up_rate='1 MB/s')"


def test_pacing_requires_the_service_and_enforces_the_rates_of_policies() -> None:
    assert te.Pacing.requires == ("service",)
    assert te.Pacing.enforces == ("down_rate", "up_rate")


FORWARD = te.Forward("tcp://192.0.2.9:1")


def test_two_pacings_in_one_chain_are_refused_at_start() -> None:
    stages = [te.Pacing(down_rate="1 MB/s"), te.Pacing(up_rate="1 MB/s")]
    with pytest.raises(te.ConfigurationError, match="Pacing is in the chain twice"):
        te.Edge("tcp://127.0.0.1:0", stages, FORWARD)


def test_pacing_without_a_rate_is_refused_at_start_on_an_edge_without_a_control_plane() -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        te.Edge("tcp://127.0.0.1:0", [te.Pacing()], FORWARD)
    assert str(refusal.value).startswith(
        "stage 1 (Pacing) has no limit: give it an argument, or give the edge control=…"
    )
    for pacing in (te.Pacing(down_rate=1e6), te.Pacing(up_rate=1e6)):
        te.Edge("tcp://127.0.0.1:0", [pacing], FORWARD)
    te.Edge("tcp://127.0.0.1:0", [te.Pacing()], FORWARD, control=te.MemoryControl({}))


def test_pacing_before_an_endpoint_without_the_relay_of_the_edge_is_refused_at_start() -> None:
    async def echo(session: te.Session) -> te.Outcome:
        return te.Completed()

    with pytest.raises(te.ConfigurationError, match=r"stage 1 \(Pacing\) does nothing before an endpoint that moves"):
        te.Edge("tcp://127.0.0.1:0", [te.Pacing(1e6)], echo)
