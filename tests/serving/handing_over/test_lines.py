import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

import trioedge as te
from tests.support.reactors import open_reactor
from trioedge.loop.reactor import Reactor
from trioedge.serving.handing_over.lines import Away, Guest
from trioedge.session.session import Session
from trioedge.session.verdict import Outcome
from trioedge.testing import make_session

DIED = te.Completed(te.Reason.RESET, "the worker that carried it has died")


class Carrier:
    """What moves the bytes there."""

    phase, pacing, began_at = "relaying", "", None

    def __init__(self) -> None:
        self.bytes_up, self.bytes_down = 300, 70_000
        self.cuts: list[te.Reason] = []

    def cut(self, reason: te.Reason) -> None:
        self.cuts.append(reason)

    def pace(self, down_rate: float, up_rate: float) -> None: ...

    def queued(self) -> tuple[int, int]:
        return 0, 0


@attrs.define
class Line:
    """A session here, which another worker carries there, and the line between."""

    reactor: Reactor
    here: Session
    there: Session
    away: Away
    far: socket.socket
    carrier: Carrier
    ends: list[tuple[Session, Outcome]]


@asynccontextmanager
async def open_line() -> AsyncIterator[Line]:
    ends: list[tuple[Session, Outcome]] = []
    async with open_reactor() as reactor:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        here, there = make_session(), make_session()
        away = Away(here, near, reactor, lambda _, session, outcome: ends.append((session, outcome)))
        here.carrier, there.carrier = away, Carrier()
        yield Line(reactor, here, there, away, far, there.carrier, ends)
        assert len(reactor) == 0
        near.close()
        far.close()


async def events(reactor: Reactor) -> None:
    """Let the reactor handle what is ready."""
    with trio.fail_after(10):
        for _ in range(5):
            await trio.sleep(0.001)


async def until_ended(line: Line) -> None:
    with trio.fail_after(10):
        while not line.ends:
            await trio.sleep(0.001)


async def test_the_end_there_is_told_here_with_its_outcome_and_its_bytes() -> None:
    async with open_line() as line:
        Guest(line.there, line.far, line.reactor)
        order: list[str] = []
        line.there.defer(lambda _: order.append(f"a stage there, {len(line.ends)} told"))
        outcome = te.Completed(te.Reason.IDLE, "60 s without a byte")
        line.there.end(outcome)
        await until_ended(line)
        assert order == ["a stage there, 0 told"]
        assert line.ends == [(line.here, outcome)]
        assert (line.here.bytes_up, line.here.bytes_down, line.here.phase) == (300, 70_000, "handling")


async def test_a_worker_that_dies_ends_what_is_counted_here() -> None:
    async with open_line() as line:
        line.far.close()
        await until_ended(line)
        assert line.ends == [(line.here, DIED)]


async def test_a_line_that_waits_in_an_inbox_is_no_end() -> None:
    async with open_line() as line:
        inbox, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with inbox, others:
            socket.send_fds(others, [b"x"], [line.far.fileno()])
            line.far.close()
            await events(line.reactor)
            assert line.ends == []
        await until_ended(line)  # the inbox is closed, and what was in it


async def test_a_cut_here_cuts_there_and_the_outcome_comes_back() -> None:
    async with open_line() as line:
        Guest(line.there, line.far, line.reactor)
        line.here.cut(te.Reason.EVICTED)
        with trio.fail_after(10):
            while not line.carrier.cuts:
                await trio.sleep(0.001)
        assert (line.carrier.cuts, line.there.cut_reason) == ([te.Reason.EVICTED], te.Reason.EVICTED)
        assert line.ends == []
        line.there.end(te.Completed(te.Reason.EVICTED))
        await until_ended(line)
        assert line.ends == [(line.here, te.Completed(te.Reason.EVICTED))]


async def test_an_end_that_meets_a_cut_is_told_all_the_same() -> None:
    async with open_line() as line:
        guest = Guest(line.there, line.far, line.reactor)
        line.reactor.remove(line.far.fileno())  # so that the reason is never read
        line.here.cut(te.Reason.EVICTED)
        line.there.end(te.Completed(te.Reason.FINISHED))
        await until_ended(line)
        assert line.ends == [(line.here, te.Completed(te.Reason.FINISHED))]
        del guest


async def test_a_first_worker_that_dies_leaves_the_session_there_alone() -> None:
    async with open_line() as line:
        Guest(line.there, line.far, line.reactor)
        line.away.drop()
        with trio.fail_after(10):
            while len(line.reactor):
                await trio.sleep(0.001)
        assert line.there.end(te.Completed(te.Reason.FINISHED)) == []
        assert line.carrier.cuts == []
        assert line.ends == []


async def test_an_end_of_the_run_here_ends_it_once() -> None:
    async with open_line() as line:
        line.away.end(te.Completed(te.Reason.DRAINED))
        line.away.end(te.Completed(te.Reason.FINISHED))
        assert line.ends == [(line.here, te.Completed(te.Reason.DRAINED))]


async def test_a_fault_of_a_callback_ends_it_here(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_line() as line:
        line.away.crashed(ValueError("odd"))
        assert line.ends == [(line.here, DIED)]


async def test_a_line_that_cannot_be_watched_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_reactor() as reactor:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)

        def full(*_: object) -> None:
            raise OSError("no memory")

        monkeypatch.setattr(Reactor, "add_reader", full)
        with pytest.raises(OSError, match="no memory"):
            Away(make_session(), near, reactor, lambda *_: None)
        assert near.fileno() == -1
        there = make_session()
        Guest(there, far, reactor)  # it cannot be cut by the first worker, and tells its end all the same
        assert there.end(te.Completed(te.Reason.FINISHED)) == []
        assert far.fileno() == -1
