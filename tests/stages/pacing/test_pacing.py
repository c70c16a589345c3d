"""Rates over an edge in memory, where a timeline keeps them; over real sockets in tests/integration/test_rates.py."""

from typing import Any

import pytest
import trio
import trio.testing

import trioedge as te
from trioedge.testing import Client, Rehearsal, ScriptedUpstream, check_decision, make_session, open_edge

RATE = 100_000.0


def edge(*stages: object, control: te.MemoryControl | None = None) -> te.Edge:
    """Sources of 198.51.100.0/24 are the bank's, all others the shop's."""

    def by_network(session: te.Session) -> str:
        return "bank" if session.source.startswith("198.51.100.") else "shop"

    everything = [te.Identify(by_network), *stages]
    return te.Edge("tcp://127.0.0.1:0", everything, te.Forward("tcp://192.0.2.9:6379"), control=control)


async def pour(stream: trio.abc.HalfCloseableStream) -> None:
    """Send ten times the rate, as far as it is taken, and take whatever comes."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drink, stream)
        while True:
            await trio.sleep(0.04)
            await stream.send_all(bytes(int(RATE * 0.4)))


async def drink(stream: trio.abc.HalfCloseableStream) -> None:
    while await stream.receive_some(65536):
        pass


def upstream(script: Any = pour) -> ScriptedUpstream:
    """Holds nothing back between the two, so that who is slow is waited for."""
    return ScriptedUpstream(script, lockstep=True)


class Crowd:
    """Clients that pour and drink for as long as the edge lives."""

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
        """Measure what these, or all, move down and up, in bytes a second."""
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
async def test_a_services_rate_is_the_sum_over_its_sessions_both_ways(
    flows: int, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_edge(edge(te.Pacing(RATE, RATE / 2)), upstream()) as world:
        crowd = Crowd(world, nursery)
        clients = await crowd.join(flows)
        await trio.sleep(1)
        assert await crowd.rates(5) == (near(RATE), near(RATE / 2))
        assert {client.session.pacing for client in clients} == {"timeline"}
    nursery.cancel_scope.cancel()


async def test_one_service_at_its_limit_is_nothing_to_another(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_edge(edge(te.Pacing(RATE, RATE)), upstream()) as world:
        crowd = Crowd(world, nursery)
        shop, bank = await crowd.join(2, "192.0.2.1"), await crowd.join(1, "198.51.100.1")
        await trio.sleep(1)
        assert await crowd.rates(3, shop) == (near(RATE), near(RATE))
        assert await crowd.rates(3, bank) == (near(RATE), near(RATE))
    nursery.cancel_scope.cancel()


async def test_a_policy_that_changes_retunes_those_who_live(
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
            await trio.sleep(1.5)  # a tick, and the wait that is under way
            down, up = await crowd.rates(4)
            assert down == near(rate)
            assert up > 10 * RATE, "which has no rate"
    nursery.cancel_scope.cancel()


async def test_a_policy_gains_a_rate_and_loses_it_while_sessions_live(
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


async def test_the_policy_goes_before_the_arguments(
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


async def test_the_gate_and_the_rates_share_nothing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A service at its byte limit has all of its burst, and its new sessions answer as soon as an idle one's."""

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
            let_in = 0
            for _ in range(6):
                began = trio.current_time()
                client = await world.connect(source, lockstep=True)
                if client.outcome is None:
                    let_in += 1
                    await client.send(b"?")
                    assert await client.receive(1) == b"!"
                    took.setdefault(source, []).append(trio.current_time() - began)
            assert let_in == 5
        assert [max(times) for times in took.values()] == [pytest.approx(0, abs=0.02)] * 2
    nursery.cancel_scope.cancel()


async def test_who_is_refused_later_takes_no_share(
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


async def test_sessions_behind_a_middleware_are_paced_too(
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


async def test_an_edge_that_stops_leaves_nobody_behind_and_may_be_opened_again(
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


async def test_the_queue_discipline_is_prepared_before_anybody_is_accepted_if_asked_for(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail: list[str] = []

    async def prepare(observer: object) -> None:
        await trio.sleep(1)
        trail.append("prepared")

    monkeypatch.setattr("trioedge.stages.pacing.pacing.prepare_fq", prepare)
    async with open_edge(edge(te.Pacing())):
        assert trail == []
    async with open_edge(edge(te.Pacing(RATE, prepare_fq=True))):
        assert trail == ["prepared"]


async def test_it_is_a_decision_that_always_says_yes(autojump_clock: trio.testing.MockClock) -> None:
    pacing = te.Pacing(RATE, RATE / 2)
    async with open_edge(te.Edge("tcp://127.0.0.1:0", [pacing], te.Forward("tcp://192.0.2.9:6379"))):
        check_decision(pacing)
        session = make_session(now=trio.current_time())
        assert pacing.decide(session) is te.CONTINUE
        assert (session.down_rate, session.up_rate) == (RATE, RATE / 2)


@pytest.mark.parametrize("argument", ["down_rate", "up_rate"])
@pytest.mark.parametrize("rate", [0, -1, "fast", "10 Mb/s", float("nan"), float("inf"), True])
def test_a_rate_that_is_none_is_quoted(argument: str, rate: Any) -> None:
    with pytest.raises(te.ConfigurationError, match=f"rate {rate!r} must be at least 1"):
        te.Pacing(**{argument: rate})


def test_it_prints_as_it_was_written() -> None:
    assert repr(te.Pacing()) == "Pacing()"
    assert repr(te.Pacing("10 MB/s")) == "Pacing(down_rate='10 MB/s')"
    assert repr(te.Pacing(1e6, "8 Mbit/s", prepare_fq=True)) == (
        "Pacing(down_rate='1 MB/s', up_rate='1 MB/s', prepare_fq=True)"
    )


def test_it_says_what_it_needs_and_which_policies_it_enforces() -> None:
    assert te.Pacing.requires == ("service",)
    assert te.Pacing.enforces == ("down_rate", "up_rate")


def test_two_in_one_chain_would_undo_each_other() -> None:
    stages = [te.Pacing(down_rate="1 MB/s"), te.Pacing(up_rate="1 MB/s")]
    with pytest.raises(te.ConfigurationError, match="Pacing is there twice"):
        te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:1"))
