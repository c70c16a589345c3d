"""The relay over sockets that do exactly as they are told: every short write, refusal and late event, one by one."""

import errno
import select
import socket
from typing import Any

import pytest
import trio

from tests.wires import tcp_pair
from trioedge.core.session import Session
from trioedge.core.verdict import Completed, Outcome, Reason
from trioedge.runtime.observe import Observer
from trioedge.runtime.reactor import Reactor
from trioedge.runtime.relay import Half, Meter, Relay
from trioedge.testing import make_session

IN, OUT, HUP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLRDHUP
FULL = BlockingIOError(errno.EAGAIN, "full")
EMPTY = BlockingIOError(errno.EAGAIN, "empty")
GONE = BrokenPipeError(errno.EPIPE, "gone")


class Scripted:
    """A socket that gives `reads` and takes as `writes` say: so many bytes, or an error; everything when unsaid."""

    def __init__(self, fd: int, reads: list[bytes | OSError], writes: list[int | OSError]) -> None:
        self.fd, self.reads, self.writes = fd, reads, writes
        self.took = b""
        self.trail: list[str] = []
        self.shutdown_fails = False

    def fileno(self) -> int:
        return self.fd

    def recv_into(self, buffer: memoryview) -> int:
        said = self.reads.pop(0) if self.reads else EMPTY
        if isinstance(said, OSError):
            raise said
        buffer[: len(said)] = said
        return len(said)

    def send(self, data: memoryview) -> int:
        told = self.writes.pop(0) if self.writes else len(data)
        if isinstance(told, OSError):
            raise told
        self.took += bytes(data[:told])
        return min(told, len(data))

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        if self.shutdown_fails:
            raise OSError(errno.ENOTCONN, "not connected")
        self.trail.append("half-closed")

    def setsockopt(self, *option: Any) -> None:
        self.trail.append("lingers not")

    def close(self) -> None:
        self.trail.append("closed")


class FakeReactor:
    """What a relay asks of its reactor, and nothing that runs by itself."""

    def __init__(self) -> None:
        self.now = 100.0
        self.buffer = memoryview(bytearray(65536))
        self.agains: list[Half] = []

    def again(self, half: Half) -> None:
        self.agains.append(half)

    def run(self) -> None:
        """Resume whoever asked, until nobody does."""
        for _ in range(100):
            if not self.agains:
                return
            self.agains.pop(0).resume()
        pytest.fail("somebody asks to be called again for ever")

    def add(self, fd: int, half: Half) -> None: ...
    def hand_over(self, fd: int, half: Half) -> None: ...
    def forget(self, fd: int) -> None: ...
    def set_deadline(self, item: object, due: float) -> int:
        return 0

    def drop_deadline(self, item: object, tick: int) -> None: ...


class Line:
    def __init__(
        self,
        *,
        client: list[bytes | OSError] | None = None,
        to_client: list[int | OSError] | None = None,
        upstream: list[bytes | OSError] | None = None,
        to_upstream: list[int | OSError] | None = None,
    ) -> None:
        self.reactor = FakeReactor()
        self.client = Scripted(10, client or [], to_client or [])
        self.upstream = Scripted(11, upstream or [], to_upstream or [])
        self.session = make_session()
        self.outcomes: list[Outcome] = []
        reactor: Any = self.reactor
        down: Any = self.client
        up: Any = self.upstream
        self.relay = Relay(self.session, reactor, down, up, (Meter(), Meter()), self._ended)
        self.down, self.up = self.relay.down, self.relay.up

    def _ended(self, session: Session, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def test_a_rest_is_written_once_each_byte_in_order_before_anything_new_is_read() -> None:
    line = Line(client=[b"0123456789", b"abc"], to_upstream=[4, FULL, 3, 0, 2, 1])
    line.down.on_ready(10, IN)
    assert line.upstream.took == b"0123"
    line.down.on_ready(10, IN)  # a new event does not jump the queue
    for expected in (b"0123", b"0123456", b"0123456", b"012345678"):
        line.up.on_ready(11, OUT)
        assert line.upstream.took == expected
    line.up.on_ready(11, OUT)
    assert line.upstream.took == b"0123456789abc"
    assert line.up.backlog is None
    assert line.relay.bytes_up == 13


def test_a_rest_is_a_copy_of_its_own() -> None:
    line = Line(client=[b"mine, all mine"], to_upstream=[FULL])
    line.down.on_ready(10, IN)
    line.reactor.buffer[:20] = b"somebody else's byte"
    line.up.on_ready(11, OUT)
    assert line.upstream.took == b"mine, all mine"


def test_writing_a_rest_counts_as_activity_and_so_does_reading() -> None:
    line = Line(client=[b"0123"], to_upstream=[1])
    line.reactor.now = 200.0
    line.down.on_ready(10, IN)
    assert line.relay.active_at == 200.0
    line.reactor.now = 300.0
    line.up.on_ready(11, OUT)
    assert line.relay.active_at == 300.0


def test_a_refused_write_resets_the_other_side_when_nothing_more_comes() -> None:
    line = Line(client=[b"question"], to_upstream=[GONE], upstream=[b""])
    line.down.on_ready(10, IN)
    line.reactor.run()
    assert line.outcomes == [Completed(Reason.RESET)]
    assert line.client.trail == ["lingers not", "closed"]


def test_an_answer_behind_a_refused_write_is_delivered_and_the_client_closed_in_order() -> None:
    line = Line(client=[b"question", b"more"], to_upstream=[GONE], upstream=[b"an ", b"answer", b""])
    line.down.on_ready(10, IN)
    line.down.on_ready(10, IN)  # what the upstream will not take is not even read
    line.reactor.run()
    assert line.client.took == b"an answer"
    assert line.client.reads == [b"more"]
    assert line.outcomes == [Completed(Reason.RESET)]
    assert line.client.trail == ["closed"]


def test_a_refused_write_to_one_who_had_finished_ends_it_in_order() -> None:
    line = Line(client=[b"x"], upstream=[b"all of it", b""], to_upstream=[GONE])
    line.up.on_ready(11, IN | HUP)
    line.reactor.run()
    line.down.on_ready(10, IN)
    assert line.client.took == b"all of it"
    assert line.client.trail == ["half-closed", "closed"]
    assert line.outcomes == [Completed(Reason.RESET)]


def test_a_refused_rest_ends_without_a_fault() -> None:
    line = Line(client=[b"0123456789"], to_upstream=[4, GONE], upstream=[b"reply", b""])
    line.up.on_ready(11, IN | HUP)
    line.reactor.run()
    line.down.on_ready(10, IN)
    line.up.on_ready(11, OUT)  # refused while the upstream had finished: the relay is over at once
    assert line.outcomes == [Completed(Reason.RESET)]


def test_a_half_close_that_cannot_be_passed_on_resets_both() -> None:
    line = Line(client=[b""])
    line.upstream.shutdown_fails = True
    line.down.on_ready(10, IN | HUP)
    assert [outcome.reason for outcome in line.outcomes] == [Reason.RESET]
    assert line.client.trail == line.upstream.trail == ["lingers not", "closed"]


def test_after_a_hang_up_short_reads_go_on_to_the_end() -> None:
    line = Line(upstream=[b"a", b"b", b""], client=[])
    line.up.on_ready(11, IN | HUP)
    line.reactor.run()
    assert line.client.took == b"ab"
    assert line.client.trail == ["half-closed"]


def test_a_greeting_is_read_to_its_end_though_its_event_has_passed() -> None:
    line = Line(upstream=[b"220 ", b"welcome", b""])
    line.relay.start(greeted=True)
    line.reactor.run()
    assert line.client.took == b"220 welcome"
    assert line.client.trail == ["half-closed"]


def test_a_bug_of_ours_costs_the_session_and_is_said_once() -> None:
    line = Line()
    line.up.crashed(LookupError("bug"))
    line.up.crashed(LookupError("and again"))
    assert [outcome.reason for outcome in line.outcomes] == [Reason.FAULT]
    assert line.client.trail == line.upstream.trail == ["lingers not", "closed"]


def test_the_shorter_of_both_limits_holds_after_a_half_close(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(client=[b""])
    line.session.idle_seconds, line.session.half_closed_seconds = 10.0, 60.0
    line.reactor.now = 200.0
    line.down.on_ready(10, IN | HUP)
    monkeypatch.setattr("trioedge.runtime.relay.unsent_bytes", lambda sock: 0)  # there is no kernel behind them
    line.relay.expire(209.9)
    assert line.outcomes == []
    line.relay.expire(210.1)
    assert [outcome.reason for outcome in line.outcomes] == [Reason.IDLE]


async def test_a_slow_reader_is_not_silent_while_the_kernel_still_delivers(mock_clock: trio.testing.MockClock) -> None:
    client, down = tcp_pair()
    upstream, up = tcp_pair()
    reactor = Reactor(Observer())
    session = make_session(now=0.0)
    session.idle_seconds = 10.0
    outcomes: list[Outcome] = []
    relay = Relay(session, reactor, down, up, (Meter(), Meter()), lambda _, outcome: outcomes.append(outcome))
    try:
        while True:
            down.send(bytes(65536))
    except BlockingIOError:
        pass
    relay.expire(10.1)  # much is on its way
    assert outcomes == []
    client.recv(1 << 20)
    relay.expire(20.2)  # and the client took some
    assert outcomes == []
    relay.expire(30.3)  # and then nothing for ten seconds
    assert [outcome.reason for outcome in outcomes] == [Reason.IDLE]
    for sock in (client, upstream):
        sock.close()
    reactor._epoll.close()


def test_when_neither_side_takes_anything_the_session_is_over() -> None:
    line = Line(client=[b"question"], to_client=[GONE], upstream=[b"answer"], to_upstream=[GONE])
    line.down.on_ready(10, IN)
    line.reactor.run()
    assert line.outcomes == [Completed(Reason.RESET)]
    assert line.client.trail == line.upstream.trail == ["lingers not", "closed"]


def test_one_half_waits_for_its_turn_once() -> None:
    line = Line(client=[bytes(65536)] * 20)
    for _ in range(5):
        line.down.on_ready(10, IN)
    assert len(line.reactor.agains) == 1
    line.reactor.run()
    assert len(line.upstream.took) == 20 * 65536
