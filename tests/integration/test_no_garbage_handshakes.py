"""Sessions with handshakes leave no cycles, however their handshakes end."""

import gc
import socket
from collections import Counter
from contextlib import suppress

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.middlewares import read_ahead, wrap
from tests.support.ports import closed_port
from tests.support.talks import pass_on
from tests.support.wires import serving

SESSIONS = 3


async def wrong() -> None:
    await trio.lowlevel.checkpoint()
    raise LookupError("a bug")


@te.handshake(seconds=0.1)
def pick(session: te.Session) -> te.Steps:
    how = yield te.Read(1)
    if how == b"n":
        yield te.Send(b"no")
        return te.Reject(te.Reason.CREDENTIALS)
    if how == b"r":
        raise LookupError("a bug")
    if how == b"x":
        yield te.Background(wrong)
    if how == b"y":
        with suppress(LookupError):
            yield te.Background(wrong)
    if how == b"s":
        yield te.Background(trio.sleep, 9)
    if how == b"5":
        yield 5  # type: ignore[misc]
    if how == b"p":
        yield te.Peek(100, seconds=0.01)
    if how == b"c":
        session.cut(te.Reason.EVICTED)
    if how in b"wd":
        yield te.Read(1)
    return te.CONTINUE


@te.handshake(seconds=0.1, proceeds=True)
def asks(session: te.Session) -> te.Steps:
    how = yield te.Read(1)
    outcome = yield te.PROCEED
    if how == b"r":
        raise LookupError("a bug")
    if how == b"5":
        yield te.Read(1)
    if how == b"c":
        session.cut(te.Reason.EVICTED)
    yield te.Send(b"ok" if outcome is None else b"no")
    return te.Reject(te.Reason.CREDENTIALS) if how == b"n" else te.CONTINUE


@te.decision
def refuse(session: te.Session) -> te.Verdict:
    return te.Reject(te.Reason.POLICY)


@te.decision
def fail(session: te.Session) -> te.Verdict:
    raise LookupError("a bug")


@te.handshake
def is_read(session: te.Session) -> te.Steps:
    yield te.Read(1)
    return te.CONTINUE


@te.middleware
async def fail_behind(session: te.Session, call_next: te.Handler) -> te.Outcome:
    await call_next(session)
    raise LookupError("a bug")


CHAINS: dict[str, list[object]] = {
    "reactor": [pick],
    "two in the reactor": [pick, is_read],
    "a middleware behind": [pick, pass_on],
    "behind a middleware": [pass_on, pick],
    "behind a stream of a middleware": [wrap, pick],
    "proceeds": [asks],
    "proceeds, refused behind": [asks, refuse],
    "proceeds, fails behind": [asks, fail],
    "proceeds, a middleware behind": [asks, pass_on],
    "proceeds, a reader behind": [asks, read_ahead],
    "proceeds, a stream behind": [asks, wrap],
    "proceeds, a faulty middleware behind": [asks, fail_behind],
    "proceeds behind a middleware": [pass_on, asks],
    "proceeds behind a middleware, refused": [pass_on, asks, refuse],
}


async def live(edge: te.Edge, port: int, says: bytes) -> None:
    """Have one session, from accept to its end."""
    accepted = edge.statistics().accepted
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setblocking(False)
        client.send(says)
        if says != b"w":
            client.send(b"more")
        with trio.move_on_after(0.02):
            while edge.statistics().accepted == accepted or edge.sessions:
                await trio.sleep(0.001)
        if says == b"e":
            edge.evict(source="127.0.0.1")
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        with trio.fail_after(5):
            while edge.statistics().accepted == accepted or edge.sessions:
                await trio.sleep(0.001)


async def garbage(edge: te.Edge, says: bytes) -> Counter[str]:
    with capture_logs():
        async with serving(edge) as port:
            await live(edge, port, says)  # what is made once
            while edge._run.sessions._reactor.parting:  # type: ignore[union-attr]
                await trio.sleep(0.001)
            gc.collect()
            gc.disable()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                for _ in range(SESSIONS):
                    await live(edge, port, says)
                while edge._run.sessions._reactor.parting:  # type: ignore[union-attr]
                    await trio.sleep(0.001)
                gc.collect()
                return Counter(type(each).__name__ for each in gc.garbage)
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()


@pytest.mark.parametrize("says", ["g", "n", "r", "x", "y", "s", "5", "p", "c", "w", "d", "e"])
@pytest.mark.parametrize("chain", CHAINS)
async def test_a_session_with_a_handshake_leaves_nothing_for_the_collector(chain: str, says: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        edge = te.Edge("tcp://127.0.0.1:0", CHAINS[chain], te.Forward(f"tcp://127.0.0.1:{upstream.getsockname()[1]}"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(close_each, upstream)
            assert await garbage(edge, says.encode()) == {}
            nursery.cancel_scope.cancel()


async def close_each(upstream: socket.socket) -> None:
    """Be an upstream that ends each connection soon."""
    upstream.setblocking(False)
    while True:
        await trio.lowlevel.wait_readable(upstream)
        with suppress(BlockingIOError):
            upstream.accept()[0].close()


@pytest.mark.parametrize("says", ["g", "r", "c"])
@pytest.mark.parametrize("chain", [each for each in CHAINS if each.startswith("proceeds")])
async def test_a_session_with_a_handshake_whose_upstream_refuses_leaves_nothing(chain: str, says: str) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", CHAINS[chain], te.Forward(f"tcp://127.0.0.1:{closed_port()}", retries=0))
    assert await garbage(edge, says.encode()) == {}
