"""A stage writes nonsense into a live session: one clear line says so, and that session alone pays."""

from collections.abc import Callable
from contextlib import suppress
from math import inf, nan
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from trioedge.session.allowance import Allowance
from trioedge.testing import Client, Rehearsal, open_edge

BAD, GOOD = "192.0.2.66", "192.0.2.1"
HUGE = "x" * 100_000

Act = Callable[[te.Session], object]


def writes(field: str, value: Any) -> Act:
    return lambda session: setattr(session, field, value)


def calls(method: str, *arguments: Any) -> Act:
    return lambda session: getattr(session, method)(*arguments)


def stores(key: Any, value: Any) -> Act:
    return lambda session: session.state.__setitem__(key, value)


ODD: dict[str, list[Any]] = {
    "service": [None, 5, ["shop"], b"shop", object()],
    "device": [5, b"phone", ["phone"], "x" * 256],
    "destination": [5, b"tcp://a:1", "", "nowhere", HUGE, ["tcp://a:1"]],
    "idle_seconds": [0, -1, nan, None, "5", True, 10**400, HUGE],
    "half_closed_seconds": [0, -1, nan, None, "5", True, 10**400, HUGE],
    "allowance": [5, "5", inf, []],
    "stream": [None, 5, b"bytes", object()],
    "state": [None, {}],
    "began": [5, "x", None],
    "carrier": [5, "x", []],
    "scope": [5, None, []],
    "index": [5, "x", []],
    **{field: [None, 5, "x"] for field in (
        "id", "listener", "source", "source_bytes", "source_port", "peer", "started_at", "now", "policy", "down_rate",
        "up_rate", "outcome", "cut_reason", "phase", "pacing", "bytes_up", "refusal", "trace", "stamp", "misspelt",
    )},
}  # fmt: skip

ACTS: dict[str, list[Act]] = {
    **{field: [writes(field, value) for value in values] for field, values in ODD.items()},
    "state[…]": [stores("login", 5), stores(5, 5), stores(int, "5"), stores(int | str, 5), stores([], 5)],
    "pace()": [calls("pace", 0, 1), calls("pace", 1, -1), calls("pace", "1 MB/s", 1), calls("pace", 1, nan)],
    "set_source()": [calls("set_source", value) for value in (None, 5, "", "localhost", HUGE, b"192.0.2.1")],
    "set_source(port)": [calls("set_source", GOOD, port) for port in (-1, 65_536, "80", None)],
    "cut()": [calls("cut", value) for value in (None, "evicted", 5, HUGE)],
    "follow()": [calls("follow", value) for value in (5, "x", object())],
    "defer()": [calls("defer", value) for value in (None, 5, "x")],
}


def edge_that(act: Callable[[te.Session], object], *, where: str) -> te.Edge:
    """Make an edge whose decision, middleware or clean-up does something to the sessions of one source."""

    def act_on_bad(session: te.Session) -> None:
        if session.peer == BAD:
            act(session)

    @te.decision
    def decide(session: te.Session) -> te.Verdict:
        if where == "decision":
            act_on_bad(session)
        elif where == "clean-up":
            session.defer(act_on_bad)
        return te.CONTINUE

    @te.middleware
    async def wrap(session: te.Session, call_next: te.Handler) -> te.Outcome:
        if where == "middleware":
            act_on_bad(session)
        return await call_next(session)

    return te.Edge("tcp://127.0.0.1:0", [decide, wrap, te.Pacing("1 MB/s")], te.Forward("tcp://192.0.2.9:1"))


async def echoes(client: Client) -> bool:
    await client.send(b"ping")
    return await client.receive(4) == b"ping"


async def session_of_bad(world: Rehearsal) -> te.Outcome:
    """Connect, say a word and hang up."""
    client = await world.connect(BAD)
    with suppress(trio.BrokenResourceError):
        await client.send(b"x")
        await client.finish()
    return await client.ended()


@pytest.mark.parametrize("where", ["decision", "middleware", "clean-up"])
@pytest.mark.parametrize("field", ACTS)
async def test_nonsense_is_refused_in_one_line_and_its_session_alone_pays(
    field: str, where: str, autojump_clock: MockClock
) -> None:
    acts = iter(ACTS[field])
    with capture_logs() as logs:
        async with open_edge(edge_that(lambda session: next(acts)(session), where=where)) as world:
            good = await world.connect(GOOD)
            for _ in ACTS[field]:
                outcome = await session_of_bad(world)
                assert outcome.reason is (te.Reason.FINISHED if where == "clean-up" else te.Reason.FAULT)
                assert type(outcome) is (te.Reject if where == "decision" else te.Completed)
                assert await echoes(good)
                await trio.sleep(2)  # a fault of one kind is logged once a second
            assert world.edge.statistics().live == 1
            assert [session.source for session in world.edge.sessions] == [GOOD]
            assert world.edge.evict(source=GOOD) == 1
    faults = [entry for entry in logs if entry["log_level"] == "error"]
    event = {"decision": "decision failed", "middleware": "stage failed", "clean-up": "clean-up failed"}[where]
    assert [entry["event"] for entry in faults] == [event] * len(ACTS[field])
    for entry in faults:
        line = str(entry["exc_info"])
        assert "\n" not in line
        assert len(line) < 500
        assert field.partition("[")[0].partition("(")[0] in line, "the line names the field"


# Services.


def named(name: object) -> Act:
    return writes("service", name)


@pytest.mark.parametrize("where", ["decision", "middleware"])
@pytest.mark.parametrize("name", ["", HUGE], ids=["empty", "very long"])
async def test_a_name_that_cannot_be_is_a_refusal_and_no_fault(
    where: str, name: str, autojump_clock: MockClock
) -> None:
    with capture_logs() as logs:
        async with open_edge(edge_that(named(name), where=where)) as world:
            outcome = await session_of_bad(world)
            assert outcome == te.Reject(te.Reason.SERVICE, "a service's name has 1 to 255 letters")
            assert set(world.edge.services) == {"default"}
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == []


async def test_a_clean_up_cannot_name_a_service_once_the_endpoint_has_begun(autojump_clock: MockClock) -> None:
    with capture_logs() as logs:
        async with open_edge(edge_that(named("shop"), where="clean-up")) as world:
            assert await session_of_bad(world) == te.Completed()
            assert "shop" not in world.edge.services
    (fault,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert str(fault["exc_info"]) == "session.service is final once the endpoint has begun: name it in a stage"


@pytest.mark.parametrize("where", ["decision", "middleware"])
async def test_a_removed_service_that_a_stage_has_kept_is_refused(where: str, autojump_clock: MockClock) -> None:
    kept: list[te.Service] = []
    control = te.MemoryControl({"default": te.Policy(), "shop": te.Policy()})
    edge = edge_that(lambda session: setattr(session, "service", kept[0]), where=where)
    edge = te.Edge("tcp://127.0.0.1:0", edge.outline.parts[:-1], edge.outline.parts[-1], control=control)
    async with open_edge(edge) as world:
        kept.append(world.edge.services["shop"])
        bad = await world.connect(BAD)
        await trio.sleep(1)
        assert (bad.outcome, bad.session.service.name) == (None, "shop")
        await control.remove("shop")
        assert await bad.ended() == te.Completed(te.Reason.EVICTED)
        assert await session_of_bad(world) == te.Reject(te.Reason.SERVICE, "no such service")
        await control.put("shop", te.Policy())
        assert await session_of_bad(world) == te.Reject(te.Reason.SERVICE, "no such service")


@pytest.mark.parametrize("where", ["decision", "middleware"])
async def test_a_service_of_another_edge_is_refused(where: str, autojump_clock: MockClock) -> None:
    kept: list[te.Service] = []
    async with (
        open_edge(edge_that(named("shop"), where="decision")) as other,
        open_edge(edge_that(lambda session: setattr(session, "service", kept[0]), where=where)) as world,
    ):
        await session_of_bad(other)
        kept.append(other.edge.services["shop"])
        assert await session_of_bad(world) == te.Reject(te.Reason.SERVICE, "no such service")
        assert kept[0].live == 0


@pytest.mark.parametrize(
    "compare",
    [lambda session: session.service == "default", lambda session: {"default": 1}.get(session.service)],
    ids=["compare", "look up"],
)
async def test_a_decision_that_takes_the_service_for_its_name_opens_no_gate(
    compare: Act, autojump_clock: MockClock
) -> None:
    async with open_edge(edge_that(compare, where="decision")) as world:
        outcome = await session_of_bad(world)
        assert type(outcome) is te.Reject
        assert outcome.reason is te.Reason.FAULT
        assert "write .name, as in session.service.name ==" in outcome.detail


# The rest of the chain, twice.


async def one_after_the_other(session: te.Session, call_next: te.Handler) -> te.Outcome:
    await call_next(session)
    return await call_next(session)


async def at_the_same_time(session: te.Session, call_next: te.Handler) -> te.Outcome:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call_next, session)
        nursery.start_soon(call_next, session)
    return te.Completed()


@pytest.mark.parametrize("twice", [one_after_the_other, at_the_same_time])
async def test_a_middleware_that_awaits_call_next_twice_costs_its_own_session(
    twice: Any, autojump_clock: MockClock
) -> None:
    @te.middleware
    async def maybe_twice(session: te.Session, call_next: te.Handler) -> te.Outcome:
        return await (twice if session.source == BAD else one)(session, call_next)

    async def one(session: te.Session, call_next: te.Handler) -> te.Outcome:
        return await call_next(session)

    edge = te.Edge("tcp://127.0.0.1:0", [maybe_twice, te.IdleTimeout(60)], te.Forward("tcp://192.0.2.9:1"))
    with capture_logs() as logs:
        async with open_edge(edge) as world:
            good = await world.connect(GOOD)
            outcome = await session_of_bad(world)
            assert outcome.reason is te.Reason.FAULT
            assert await echoes(good)
            assert world.edge.statistics().live == 1
            assert len(world.upstream.asked) == 2, "one upstream for each session"
    (fault,) = [entry for entry in logs if entry["log_level"] == "error"]
    leaf = fault["exc_info"]
    while isinstance(leaf, BaseExceptionGroup):
        (leaf,) = leaf.exceptions
    assert isinstance(leaf, RuntimeError)
    assert str(leaf) == "a middleware awaited call_next twice: the session's bytes go to one endpoint, once"


# What only the edge calls.


@pytest.mark.parametrize("where", ["decision", "middleware"])
async def test_a_stage_that_ends_the_session_itself_leaves_no_session_that_cannot_be_cut(
    where: str, autojump_clock: MockClock
) -> None:
    async with open_edge(edge_that(calls("end", te.Completed()), where=where)) as world:
        client = await world.connect(BAD)
        await client.ended()
        await trio.sleep(1)
        assert world.edge.statistics().live == 0
        assert len(world.edge.sessions) == 0


@pytest.mark.parametrize(
    "act", [calls("come_from", "192.0.2.5", b"\xc0\0\2\5", 1), calls("use", "phone")], ids=["source", "device"]
)
async def test_a_session_whose_fields_changed_behind_the_registry_is_removed_by_the_keys_it_was_entered_with(
    act: Act, autojump_clock: MockClock
) -> None:
    with capture_logs() as logs:
        async with open_edge(edge_that(act, where="middleware")) as world:
            good = await world.connect(GOOD)
            await session_of_bad(world)
            assert await echoes(good)
            assert [session.source for session in world.edge.sessions] == [GOOD]
            assert world.edge.evict(source=GOOD) == 1
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_an_allowance_of_nonsense_costs_its_own_session(autojump_clock: MockClock) -> None:
    async with open_edge(edge_that(writes("allowance", Allowance("5")), where="decision")) as world:  # type: ignore[arg-type]
        good = await world.connect(GOOD)
        assert (await session_of_bad(world)).reason is te.Reason.FAULT
        assert await echoes(good)


# Over plain sockets, where the reactor asks the leading decisions.


async def echo_back(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        async for data in stream:
            await stream.send_all(data)


async def test_over_plain_sockets_nonsense_of_a_decision_resets_its_own_client_only() -> None:
    every = [act for acts in ACTS.values() for act in acts] + [writes("allowance", Allowance("5"))]  # type: ignore[arg-type]
    acts = iter(every)

    @te.decision
    def decide(session: te.Session) -> te.Verdict:
        if session.source == "127.0.0.2":
            next(acts)(session)
        return te.CONTINUE

    async def answer_to(source: str, port: int) -> bytes:
        try:
            async with await trio.open_tcp_stream("127.0.0.1", port, local_address=source) as client:
                await client.send_all(b"ping")
                return bytes(await client.receive_some(4))
        except (OSError, trio.BrokenResourceError):
            return b"reset"

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, echo_back, listeners)
        upstream = listeners[0].socket.getsockname()[1]
        edge = te.Edge("tcp://127.0.0.1:0", [decide, te.Pacing("9 MB/s")], te.Forward(f"tcp://127.0.0.1:{upstream}"))
        with capture_logs():
            await nursery.start(edge.serve)
            port = int(edge.addresses[0].rpartition(":")[2])
            for _ in every:
                assert await answer_to("127.0.0.2", port) == b"reset"
            assert await answer_to("127.0.0.1", port) == b"ping"
        assert edge.statistics().refused == {te.Reason.FAULT: len(every) - 1}
        assert edge.statistics().ended[te.Reason.FAULT] == 1
        nursery.cancel_scope.cancel()
