"""The relay over sockets that do exactly as they are told: every short write, refusal and late event, one by one."""

import errno
import select
import socket
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.wires import tcp_pair
from trioedge.loop.reactor import Reactor
from trioedge.relay.socket_relay import Half, Relay
from trioedge.session.allowance import Allowance
from trioedge.session.meter import Meter
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Outcome, Reason
from trioedge.telemetry.observer import Observer
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
        self.error = 0
        self.trail: list[str] = []
        self.shutdown_fails = False

    def fileno(self) -> int:
        return self.fd

    def recv_into(self, buffer: memoryview, most: int = 0) -> int:
        said = self.reads.pop(0) if self.reads else EMPTY
        if isinstance(said, OSError):
            raise said
        if most and most < len(said):
            self.reads.insert(0, said[most:])
            said = said[:most]
        buffer[: len(said)] = said
        return len(said)

    def getsockopt(self, *option: int) -> int:
        assert option == (socket.SOL_SOCKET, socket.SO_ERROR)
        return self.error

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
        self.repeated: list[int] = []

    def again(self, half: Half) -> None:
        self.agains.append(half)

    def run(self) -> None:
        """Resume whoever asked, until nobody does."""
        for _ in range(100):
            if not self.agains:
                return
            self.agains.pop(0).resume()
        pytest.fail("somebody asks to be called again for ever")

    def repeat(self, fd: int) -> None:
        self.repeated.append(fd)

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
        allowance: Allowance | None = None,
    ) -> None:
        self.reactor = FakeReactor()
        self.client = Scripted(10, client or [], to_client or [])
        self.upstream = Scripted(11, upstream or [], to_upstream or [])
        self.session = make_session()
        self.session.allowance = allowance
        self.outcomes: list[Outcome] = []
        reactor: Any = self.reactor
        down: Any = self.client
        up: Any = self.upstream
        self.relay = Relay(self.session, reactor, down, up, (Meter(), Meter()), self._ended)
        self.down, self.up = self.relay.down, self.relay.up

    def _ended(self, session: Session, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def run(self) -> None:
        """Repeat the events that were asked for, and resume whoever asked, until nobody does."""
        for fd in self.reactor.repeated:
            (self.down if fd == 10 else self.up).on_ready(fd, IN | OUT)
        self.reactor.repeated.clear()
        self.reactor.run()


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
    monkeypatch.setattr(
        "trioedge.relay.socket_relay.unacknowledged_bytes", lambda sock: 0
    )  # there is no kernel behind them
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


# With an allowance.


def test_an_allowance_is_for_both_ways_together_and_what_is_beyond_it_is_not_even_read() -> None:
    allowance = Allowance(10)
    line = Line(client=[b"question"], upstream=[b"answer"], allowance=allowance)
    line.down.on_ready(10, IN)
    line.up.on_ready(11, IN)
    line.run()
    assert (line.upstream.took, line.client.took) == (b"question", b"an")
    assert allowance.left == 0
    line.up.on_ready(11, IN)
    line.run()
    assert line.client.took == b"an"
    allowance.lift()
    line.run()
    assert line.client.took == b"answer"


def test_two_sessions_of_a_device_share_its_allowance() -> None:
    allowance = Allowance(10)
    one, other = Line(client=[b"12345678"], allowance=allowance), Line(client=[b"abcdefgh"], allowance=allowance)
    for line in (one, other):
        line.down.on_ready(10, IN)
        line.run()
    assert (one.upstream.took, other.upstream.took) == (b"12345678", b"ab")
    allowance.lift()
    for line in (one, other):
        line.run()
    assert (one.upstream.took, other.upstream.took) == (b"12345678", b"abcdefgh")


def test_an_allowance_that_was_lifted_before_anybody_waited_is_dropped() -> None:
    allowance = Allowance(10)
    line = Line(client=[b"0123456789abcdef"], allowance=allowance)
    allowance.lift()
    line.down.on_ready(10, IN)
    assert line.relay.allowance is None
    assert line.upstream.took == b"0123456789abcdef"


def test_what_came_and_what_ended_during_a_pause_is_made_good() -> None:
    allowance = Allowance(4)
    line = Line(client=[b"0123456789", b""], upstream=[b"abc", b""], allowance=allowance)
    line.down.on_ready(10, IN | HUP)
    line.up.on_ready(11, IN | HUP)
    line.run()
    assert (line.upstream.took, line.client.took, line.outcomes) == (b"0123", b"", [])
    allowance.lift()
    line.run()
    assert (line.upstream.took, line.client.took, line.outcomes) == (b"0123456789", b"abc", [Completed()])


def test_a_rest_is_written_during_a_pause_too() -> None:
    allowance = Allowance(4)
    line = Line(client=[b"0123456789"], to_upstream=[1, FULL, 3], allowance=allowance)
    line.down.on_ready(10, IN)
    line.up.on_ready(11, OUT)
    line.up.on_ready(11, OUT)
    line.run()
    assert line.upstream.took == b"0123"
    allowance.lift()
    line.run()
    assert line.upstream.took == b"0123456789"


def paused() -> tuple[Line, Allowance]:
    allowance = Allowance(4)
    line = Line(client=[b"0123456789"], allowance=allowance)
    line.down.on_ready(10, IN)
    line.run()
    assert line.relay.paused
    return line, allowance


def test_who_is_cut_during_a_pause_is_not_called_any_more() -> None:
    line, allowance = paused()
    line.session.carrier = line.relay
    line.session.cut(Reason.DEVICE)
    assert not allowance._waiting
    allowance.lift()
    assert not line.reactor.repeated
    assert not line.reactor.agains
    assert line.outcomes == [Completed(Reason.DEVICE)]


def test_a_reset_is_noticed_during_a_pause() -> None:
    line, allowance = paused()
    line.client.error = errno.ECONNRESET
    line.down.on_ready(10, IN | HUP | select.EPOLLERR)
    assert [outcome.reason for outcome in line.outcomes] == [Reason.RESET]
    assert not allowance._waiting


def test_a_pause_is_no_silence_and_the_limit_begins_anew_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioedge.relay.socket_relay.unacknowledged_bytes", lambda sock: 0)  # there is no kernel
    allowance = Allowance(0)
    line = Line(allowance=allowance)
    line.down.on_ready(10, IN)
    line.session.idle_seconds = 10.0
    for now in (110.1, 120.2, 130.3):
        line.reactor.now = now
        line.relay.expire(now)
    line.reactor.now = 139.0
    allowance.lift()
    line.run()
    line.relay.expire(148.9)
    assert line.outcomes == []
    line.relay.expire(149.1)
    assert [outcome.reason for outcome in line.outcomes] == [Reason.IDLE]


def pattern(count: int) -> bytes:
    """So many bytes in which no two neighbours can be swapped unnoticed."""
    return (bytes(range(251)) * (count // 251 + 1))[:count]


class Wire:
    """A connection as the kernel has it: bytes that arrived, room for some more, and one event for each change."""

    def __init__(self, fd: int, room: int) -> None:
        self.fd, self.room = fd, room
        self.arrived, self.took = bytearray(), bytearray()
        self.sent = 0
        self.over = self.half_closed = self.refused = False
        self.mask = 0

    def fileno(self) -> int:
        return self.fd

    def arrive(self, count: int) -> None:
        self.arrived += pattern(self.sent + count)[self.sent :]
        self.sent += count
        self.mask |= IN

    def finish(self) -> None:
        self.over = True
        self.mask |= IN | HUP

    def make_room(self, count: int) -> None:
        self.room += count
        if self.refused:
            self.refused = False
            self.mask |= OUT

    def report(self) -> None:
        """Say once more what there is."""
        self.mask |= (IN if self.arrived else 0) | (OUT if self.room else 0) | (IN | HUP if self.over else 0)

    def recv_into(self, buffer: memoryview, most: int = 0) -> int:
        if not self.arrived:
            if self.over:
                return 0
            raise EMPTY
        count = min(len(self.arrived), most or len(buffer))
        buffer[:count] = self.arrived[:count]
        del self.arrived[:count]
        return count

    def send(self, data: memoryview) -> int:
        count = min(len(data), self.room)
        self.refused = count < len(data)
        if not count:
            raise FULL
        self.room -= count
        self.took += data[:count]
        return count

    def shutdown(self, how: int) -> None:
        self.half_closed = True

    def setsockopt(self, *option: Any) -> None: ...

    def close(self) -> None:
        self.mask = 0


class Kernel:
    """Some sessions of one device, each over two wires."""

    def __init__(self, sessions: int, allowance: Allowance, room: int) -> None:
        self.reactor = FakeReactor()
        self.wires = [Wire(fd, room) for fd in range(2 * sessions)]
        self.outcomes: list[list[Outcome]] = []
        self.relays: list[Relay] = []
        self.halves: list[Half] = []
        reactor: Any = self.reactor
        socks: list[Any] = [*self.wires]
        for number in range(sessions):
            session = make_session()
            session.allowance = allowance
            outcomes: list[Outcome] = []

            def ended(_: Session, outcome: Outcome, outcomes: list[Outcome] = outcomes) -> None:
                outcomes.append(outcome)

            relay = Relay(session, reactor, socks[2 * number], socks[2 * number + 1], (Meter(), Meter()), ended)
            self.outcomes.append(outcomes)
            self.relays.append(relay)
            self.halves += [relay.down, relay.up]

    def deliver(self, number: int) -> None:
        """Tell the relay what has happened on a wire since it was told last."""
        while self.reactor.repeated:
            self.wires[self.reactor.repeated.pop()].report()
        wire = self.wires[number]
        mask, wire.mask = wire.mask, 0
        if mask and not self.outcomes[number // 2]:
            self.halves[number].on_ready(wire.fd, mask)

    def turn(self) -> None:
        if self.reactor.agains:
            self.reactor.agains.pop(0).resume()

    def run(self) -> None:
        """Let everybody take and be told everything."""
        while any(wire.mask for wire in self.wires) or self.reactor.agains or self.reactor.repeated:
            for number in range(len(self.wires)):
                self.deliver(number)
            self.turn()

    @property
    def let_through(self) -> int:
        """Bytes that were taken from those who sent them."""
        return sum(wire.sent - len(wire.arrived) for wire in self.wires)

    def sent_to(self, number: int) -> bytes:
        return pattern(self.wires[number ^ 1].sent)


wires = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("arrive"), wires, st.sampled_from([1, 7, 100, 3_000, 70_000])),
    st.tuples(st.sampled_from(["deliver", "finish"]), wires, st.just(0)),
    st.tuples(st.just("make room"), wires, st.sampled_from([1, 50, 5_000, 200_000])),
    st.tuples(st.sampled_from(["turn", "turn", "cut", "lift"]), st.just(0), st.just(0)),
)


@examples(300)  # a second, for there are many orders of events
@given(st.sampled_from([0, 1, 10, 500, 80_000]), st.sampled_from([0, 10, 1 << 20]), st.lists(steps, max_size=40))
def test_no_byte_beyond_the_allowance_before_it_is_lifted_and_every_byte_in_order_after(
    granted: int, room: int, script: list[tuple[str, int, int]]
) -> None:
    allowance = Allowance(granted)
    kernel = Kernel(2, allowance, room)
    finished: set[int] = set()
    for step, number, count in script:
        if step == "arrive" and number not in finished:
            kernel.wires[number].arrive(count)
        elif step == "finish":
            finished.add(number)
            kernel.wires[number].finish()
        elif step == "deliver":
            kernel.deliver(number)
        elif step == "make room":
            kernel.wires[number].make_room(count)
        elif step == "turn":
            kernel.turn()
        elif step == "cut":
            kernel.relays[0].cut(Reason.EVICTED)
        elif step == "lift":
            allowance.lift()
        assert allowance.lifted or kernel.let_through <= granted
    allowance.lift()
    for wire in kernel.wires:
        wire.make_room(1 << 24)
    kernel.run()
    assert not allowance._waiting
    for session, outcomes in enumerate(kernel.outcomes):
        down, up = 2 * session, 2 * session + 1
        if outcomes != [Completed(Reason.EVICTED)]:
            assert kernel.wires[down].took == kernel.sent_to(down)
            assert kernel.wires[up].took == kernel.sent_to(up)
            assert outcomes == [Completed()] * ({down, up} <= finished)
            if not outcomes:
                assert [kernel.wires[up].half_closed, kernel.wires[down].half_closed] == [
                    each in finished for each in (down, up)
                ]
