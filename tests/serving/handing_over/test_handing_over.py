"""Two whole edges as two workers, over real sockets: a session that one accepts and the other one carries."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.handing import Pair, open_pair
from tests.support.open_files import open_files
from tests.support.shared_memory import small_limits
from tests.support.wires import echo, receive_all, receive_exactly, server
from trioedge.structures.shared.limits import SharedLimits

HERE, THERE = "192.0.2.4", "192.0.2.5"
"""Sources of the worker that accepts, and of the other one."""

STAYS = "sessions stay in the worker that accepts them, and not in that of their source"

TRUSTED = ["127.0.0.0/8"]


@attrs.frozen
class Mark:
    text: str


@attrs.frozen(eq=False)
class Lock:
    """A value that no other process can have."""

    held: Any


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


@asynccontextmanager
async def workers(*stages: object, limits: SharedLimits | None = None, **changes: Any) -> AsyncIterator[Pair]:
    """Serve an edge with these stages by two workers, in front of an echo."""
    async with server(echo) as upstream:

        def make_edge() -> te.Edge:
            return te.Edge("tcp://127.0.0.1:0", list(stages), te.Forward(f"tcp://127.0.0.1:{upstream}"), **changes)

        async with open_pair(make_edge, limits) as pair:
            yield pair


def only(edge: te.Edge) -> te.Session:
    (session,) = edge.sessions
    return session


async def test_a_session_goes_to_the_worker_of_its_source_with_the_bytes_behind_the_header() -> None:
    async with workers(te.ProxyProtocol(TRUSTED)) as pair:
        client = await pair.connect(THERE, b"hello")
        assert await receive_exactly(client, 5) == b"hello"
        assert pair.live() == (0, 1)
        session = only(pair.edges[1])
        assert (session.source, session.source_port, session.peer) == (THERE, 1234, "127.0.0.1")
        assert session.listener == pair.edges[0].addresses[0]
        assert session.state[te.ProxyHeader].destination_port == 443
        await client.send_all(b"world")
        assert await receive_exactly(client, 5) == b"world"
        await client.send_eof()
        assert await receive_all(client) == b""
        await pair.until_live(0, 0)
        here, there = (edge.statistics() for edge in pair.edges)
        assert (here.accepted, dict(here.refused), dict(here.ended)) == (1, {}, {})
        assert (there.accepted, dict(there.refused), dict(there.ended)) == (0, {}, {te.Reason.FINISHED: 1})
        assert [edge.services["default"].opened for edge in pair.edges] == [1, 0]


async def test_a_source_of_the_worker_that_accepts_stays() -> None:
    async with workers(te.ProxyProtocol(TRUSTED)) as pair:
        client = await pair.connect(HERE, b"hello")
        assert await receive_exactly(client, 5) == b"hello"
        assert pair.live() == (1, 0)


@te.decision(provides=("source",))
def rename(session: te.Session) -> te.Verdict:
    session.set_source(THERE)
    return te.CONTINUE


@te.decision
def hold(session: te.Session) -> te.Verdict:
    session.state[Lock] = Lock(socket.socket)  # a class is found by its name, so this one can be pickled
    return te.CONTINUE


@te.decision
def keep(session: te.Session) -> te.Verdict:
    session.state[Lock] = Lock(lambda: None)
    return te.CONTINUE


@te.decision
def grow(session: te.Session) -> te.Verdict:
    session.state[Mark] = Mark("x" * 70_000)
    return te.CONTINUE


@pytest.mark.parametrize(
    ("stages", "stays"),
    [
        ([te.ProxyProtocol(TRUSTED)], False),
        ([hold, te.ProxyProtocol(TRUSTED)], False),
        ([keep, te.ProxyProtocol(TRUSTED)], True),
        ([grow, te.ProxyProtocol(TRUSTED)], True),
        ([pass_on, te.ProxyProtocol(TRUSTED)], True),
        ([te.Pacing("9 MB/s"), te.ProxyProtocol(TRUSTED)], True),
        ([te.ProxyProtocol(TRUSTED), te.Pacing("9 MB/s"), pass_on], False),
    ],
    ids=["a header", "a value", "no pickle", "too much", "in a task", "followed", "a task behind"],
)
async def test_a_session_that_is_tied_to_its_worker_stays(stages: list[object], stays: bool) -> None:
    async with workers(*stages) as pair:
        for _ in range(2):
            client = await pair.connect(THERE, b"hello")
            assert await receive_exactly(client, 5) == b"hello"
        assert pair.live() == ((2, 0) if stays else (0, 2))


async def test_a_value_that_cannot_be_pickled_is_said_once() -> None:
    with capture_logs() as lines:
        async with workers(keep, te.ProxyProtocol(TRUSTED)) as pair:
            for _ in range(3):
                client = await pair.connect(THERE, b"hello")
                assert await receive_exactly(client, 5) == b"hello"
    said = [line for line in lines if line["log_level"] == "warning"]
    assert [line["event"] for line in said] == [STAYS]
    assert "pickle" in said[0]["why"]


async def test_a_client_of_a_local_socket_that_has_no_address_stays() -> None:
    local = b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x31\x00\xd8" + bytes(216)
    async with workers(te.ProxyProtocol(TRUSTED)) as pair:
        client = await pair.connect("", b"hello", header=local)
        assert await receive_exactly(client, 5) == b"hello"
        assert only(pair.edges[0]).source == "unix"


def fill(inbox: socket.socket) -> None:
    while True:
        inbox.send(bytes(1_000))


async def test_a_worker_that_is_not_ready_or_whose_inbox_is_full_gets_none() -> None:
    async with workers(te.ProxyProtocol(TRUSTED)) as pair:
        pair.sources[0].ready = False
        assert await receive_exactly(await pair.connect(THERE, b"hello"), 5) == b"hello"
        assert pair.live() == (1, 0)
        pair.sources[0].ready = True
        full, inbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        with full, inbox:
            with pytest.raises(BlockingIOError):
                fill(inbox)
            pair.sources[0].other.close()
            pair.sources[0].other = inbox
            assert await receive_exactly(await pair.connect(THERE, b"hello"), 5) == b"hello"
            assert pair.live() == (2, 0)


async def test_decisions_and_handshakes_behind_run_there_and_those_in_front_here() -> None:
    seen: list[tuple[str, int]] = []

    @te.decision
    def front(session: te.Session) -> te.Verdict:
        seen.append(("front", session.id % 8))
        session.state[Mark] = Mark("front")
        session.idle_seconds = 77
        return te.CONTINUE

    @te.handshake
    def ask(session: te.Session) -> te.Steps:
        yield te.Send(b"?")
        word = yield te.ReadUntil(b"\n")
        yield te.Send(word)
        return te.CONTINUE

    @te.decision
    def behind(session: te.Session) -> te.Verdict:
        owner = next(number for number, edge in enumerate(pair.edges) if session in edge.sessions)
        seen.append((session.state[Mark].text, owner))
        return te.CONTINUE

    async with workers(front, te.ProxyProtocol(TRUSTED), behind, ask, behind) as pair:
        client = await pair.connect(THERE, b"wor")
        assert await receive_exactly(client, 1) == b"?"
        await client.send_all(b"d\nhello")
        assert await receive_exactly(client, 10) == b"word\nhello"
        session = only(pair.edges[1])
        assert seen == [("front", 0), ("front", 1), ("front", 1)]
        assert session.idle_seconds == 77
        steps = pair.edges[1].explain(session.id).steps
        assert [step.stage for step in steps] == ["front", "ProxyProtocol", "behind", "ask", "behind", "Forward"]
        assert all(step.microseconds is not None for step in steps)


async def test_a_handshake_of_a_user_that_names_the_source_hands_over_too() -> None:
    @te.handshake(provides=("source", "service"))
    def tunnel(session: te.Session) -> te.Steps:
        line = yield te.ReadUntil(b"\n")
        session.set_source(line.decode().strip())
        session.service = "shop"
        return te.CONTINUE

    async with workers(tunnel) as pair:
        client = await pair.connect("", b"hello", header=THERE.encode() + b"\n")
        assert await receive_exactly(client, 5) == b"hello"
        assert (only(pair.edges[1]).source, only(pair.edges[1]).service.name) == (THERE, "shop")
        assert [edge.services["shop"].live for edge in pair.edges] == [0, 1]


async def test_a_refusal_behind_is_counted_there_alone() -> None:
    async with workers(te.ProxyProtocol(TRUSTED), te.SourceMatch(accept=["203.0.113.0/24"])) as pair:
        client = await pair.connect(THERE)
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        refused = [dict(edge.statistics().refused) for edge in pair.edges]
        assert refused == [{}, {te.Reason.SOURCE: 1}]
        assert [edge.statistics().accepted for edge in pair.edges] == [1, 0]


async def test_an_eviction_by_source_finds_it_there() -> None:
    async with workers(te.ProxyProtocol(TRUSTED)) as pair:
        client = await pair.connect(THERE, b"hello")
        assert await receive_exactly(client, 5) == b"hello"
        assert [edge.evict(source=THERE) for edge in pair.edges] == [0, 1]
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(client)
        assert pair.live() == (0, 0)


# What is counted in front.


async def refused_for_many(pair: Pair) -> bool:
    """Connect to the first worker, and tell whether its limit in front refuses that."""
    before = pair.edges[0].statistics().refused.get(te.Reason.CONCURRENCY, 0)
    client = await pair.connect(THERE, b"hello")
    try:
        said = await receive_exactly(client, 5)
    except trio.BrokenResourceError:
        said = b""
    await client.aclose()
    return said == b"" and pair.edges[0].statistics().refused[te.Reason.CONCURRENCY] == before + 1


IN_FRONT = (te.ConcurrencyLimit(2, per="peer"), te.ProxyProtocol(TRUSTED))


@pytest.mark.parametrize("shared", [True, False])
async def test_a_limit_in_front_counts_a_session_until_it_ends_there(shared: bool) -> None:
    async with workers(*IN_FRONT, limits=small_limits() if shared else None) as pair:
        clients = [await pair.connect(THERE, b"hello") for _ in range(2)]
        for client in clients:
            assert await receive_exactly(client, 5) == b"hello"
        assert pair.live() == (0, 2)
        assert await refused_for_many(pair)
        await clients[0].send_eof()
        assert await receive_all(clients[0]) == b""
        await pair.until_live(0, 1)
        with trio.fail_after(10):
            while await refused_for_many(pair):  # until the first worker has heard of the end
                await trio.sleep(0.001)


async def test_a_limit_in_front_counts_no_more_what_a_dead_worker_carried() -> None:
    async with workers(*IN_FRONT) as pair:
        for _ in range(2):
            assert await receive_exactly(await pair.connect(THERE, b"hello"), 5) == b"hello"
        pair.scopes[1].cancel()
        pair.sources[0].ready = False
        with trio.fail_after(10):
            while await refused_for_many(pair):
                await trio.sleep(0.001)


async def test_what_a_stage_in_front_has_deferred_sees_the_end_and_the_bytes_of_the_other_worker() -> None:
    seen: list[tuple[object, int, int]] = []

    @te.decision
    def front(session: te.Session) -> te.Verdict:
        session.defer(lambda ended: seen.append((ended.outcome, ended.bytes_up, ended.bytes_down)))
        return te.CONTINUE

    async with workers(front, te.ProxyProtocol(TRUSTED)) as pair:
        client = await pair.connect(THERE, b"hello")
        assert await receive_exactly(client, 5) == b"hello"
        await client.send_eof()
        assert await receive_all(client) == b""
        await pair.until(lambda: bool(seen))
        assert seen == [(te.Completed(te.Reason.FINISHED), 5, 5)]


async def test_a_stage_in_front_that_cuts_its_session_later_cuts_it_there() -> None:
    kept: list[te.Session] = []

    @te.decision
    def front(session: te.Session) -> te.Verdict:
        kept.append(session)
        session.defer(kept.remove)
        return te.CONTINUE

    async with workers(front, te.ProxyProtocol(TRUSTED)) as pair:
        client = await pair.connect(THERE, b"hello")
        assert await receive_exactly(client, 5) == b"hello"
        (session,) = kept
        assert session.cut(te.Reason.POLICY)
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(client)
        await pair.until(lambda: not kept)
        assert session.outcome == te.Completed(te.Reason.POLICY)
        assert dict(pair.edges[1].statistics().ended) == {te.Reason.POLICY: 1}


async def test_a_clean_up_that_raises_is_logged_here() -> None:
    @te.decision
    def front(session: te.Session) -> te.Verdict:
        session.defer(lambda _: 1 / 0)
        return te.CONTINUE

    with capture_logs() as lines:
        async with workers(front, te.ProxyProtocol(TRUSTED)) as pair:
            client = await pair.connect(THERE, b"hello")
            assert await receive_exactly(client, 5) == b"hello"
            await client.send_eof()
            assert await receive_all(client) == b""
            await pair.until(lambda: any(line["event"] == "clean-up failed" for line in lines))


# Ends.


async def test_a_worker_that_drains_hands_none_over_and_waits_for_what_is_counted_in_it() -> None:
    async with workers(*IN_FRONT, drain_seconds=30) as pair:
        client = await pair.connect(THERE, b"hello")
        assert await receive_exactly(client, 5) == b"hello"
        late = await pair.connect(THERE, header=b"PROXY ")
        await pair.until_live(1, 1)
        pair.edges[0].drain()
        await trio.sleep(0.05)
        await late.send_all(f"TCP4 {THERE} 192.0.2.9 1 2\r\nhello".encode())
        assert await receive_exactly(late, 5) == b"hello"
        assert pair.live() == (1, 1), "it stays"
        await late.aclose()
        await pair.until_live(0, 1)
        await trio.sleep(0.4)
        assert pair.edges[0].phase.value == "draining", "a session is counted in it"
        await client.aclose()
        await pair.until(lambda: pair.edges[0].phase.value == "stopped")


async def test_a_session_that_was_sent_before_the_worker_drained_is_taken() -> None:
    async with workers(te.ProxyProtocol(TRUSTED), drain_seconds=30) as pair:
        pair.edges[1].drain()
        client = await pair.connect(THERE, b"hello")
        assert await receive_exactly(client, 5) == b"hello"
        assert pair.live() == (0, 1)
        await client.aclose()
        await pair.until(lambda: pair.edges[1].phase.value == "stopped")


async def test_a_cancel_runs_the_clean_ups_of_sessions_that_others_carry() -> None:
    ends: list[object] = []

    @te.decision
    def front(session: te.Session) -> te.Verdict:
        session.defer(lambda ended: ends.append(ended.outcome))
        return te.CONTINUE

    async with workers(front, te.ProxyProtocol(TRUSTED)) as pair:
        client = await pair.connect(THERE, b"hello")
        assert await receive_exactly(client, 5) == b"hello"
        pair.scopes[0].cancel()
        await pair.until(lambda: bool(ends))
        assert ends == [te.Completed(te.Reason.DRAINED)]
        await client.send_all(b"again")
        assert await receive_exactly(client, 5) == b"again", "the session itself goes on"


# What comes out of an inbox.


async def test_nonsense_in_an_inbox_costs_nothing_but_is_counted() -> None:
    with capture_logs() as lines:
        async with workers(te.ProxyProtocol(TRUSTED)) as pair:
            near, far = socket.socketpair()
            with near, far:
                socket.send_fds(pair.sources[0].other, [b"nonsense"], [near.fileno()])
                near.close()
                with trio.socket.from_stdlib_socket(far) as client:
                    assert await client.recv(1) == b""
            pair.sources[0].other.send(b"without a socket")
            await pair.until(lambda: te.Reason.OVERLOAD in pair.edges[1].statistics().refused)
            assert dict(pair.edges[1].statistics().ended) == {te.Reason.FAULT: 1}
            assert await receive_exactly(await pair.connect(THERE, b"hello"), 5) == b"hello"
    events = [line["event"] for line in lines]
    assert "session cannot be taken from another worker" in events
    assert "shedding: out of file descriptors" in events


async def test_an_id_that_is_taken_is_replaced() -> None:
    async with workers(te.ProxyProtocol(TRUSTED)) as pair:
        ids: list[int] = []
        for _ in range(2):
            client = await pair.connect(THERE, b"hello")
            assert await receive_exactly(client, 5) == b"hello"
        ids = [session.id for session in pair.edges[1].sessions]
        assert [number % 8 for number in ids] == [0, 0], "they keep those of the first worker"
        pair.sources[1].gave = lambda number: True  # type: ignore[method-assign]
        client = await pair.connect(THERE, b"hello")
        assert await receive_exactly(client, 5) == b"hello"
        assert [session.id % 8 for session in pair.edges[1].sessions][-1] == 1


async def test_an_inbox_whose_writers_are_all_dead_is_left_alone() -> None:
    async with workers(te.ProxyProtocol(TRUSTED)) as pair:
        pair.sources[0].other.close()
        await trio.sleep(0.05)
        assert await receive_exactly(await pair.connect("192.0.2.7", b"hello", to=1), 5) == b"hello"


async def test_many_sessions_leave_no_descriptor() -> None:
    async with workers(*IN_FRONT) as pair:
        for count in range(40):
            client = await pair.connect(THERE, b"hello")
            assert await receive_exactly(client, 5) == b"hello"
            await client.send_eof()
            assert await receive_all(client) == b""
            await client.aclose()
            await pair.until_live(0, 0)
            await trio.sleep(0.002)
            if count == 3:
                before = open_files()
        await pair.until(lambda: open_files() <= before)
        assert dict(pair.edges[1].statistics().ended) == {te.Reason.FINISHED: 40}
