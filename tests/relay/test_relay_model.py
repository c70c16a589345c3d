"""The relay against a model of the kernel: any order of events, for two sessions that share an allowance."""

import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.scripted_relay import EMPTY, ENDED, FULL, ScriptedReactor
from trioedge.loop.reactor import READABLE, WRITABLE
from trioedge.relay.relay_side import RelaySide
from trioedge.relay.socket_relay import Relay
from trioedge.session.allowance import Allowance
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Outcome, Reason
from trioedge.testing import make_session


def pattern(count: int) -> bytes:
    """Bytes in which a swap of two neighbours would be noticed."""
    return (bytes(range(251)) * (count // 251 + 1))[:count]


class Connection(socket.SocketType):
    """A connection as the kernel has it: bytes that arrived, room for more, and one event for each change.

    Attributes:
        room: bytes that it still takes.
        arrived: bytes that are not read yet.
        took: bytes that were written to it.
        sent: how many bytes have arrived in all.
        over: no more bytes arrive.
        half_closed: the relay has closed its half.
        refused: a write took less than it was given, so an event follows when there is room.
        mask: the events that the relay has not seen yet.
    """

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
        self.mask |= READABLE

    def finish(self) -> None:
        self.over = True
        self.mask |= READABLE | ENDED

    def make_room(self, count: int) -> None:
        self.room += count
        if self.refused:
            self.refused = False
            self.mask |= WRITABLE

    def report(self) -> None:
        """Repeat the events of its state."""
        self.mask |= (
            (READABLE if self.arrived else 0) | (WRITABLE if self.room else 0) | (READABLE | ENDED if self.over else 0)
        )

    def recv_into(self, buffer: memoryview, size: int = 0) -> int:  # type: ignore[override]
        if not self.arrived:
            if self.over:
                return 0
            raise EMPTY
        count = min(len(self.arrived), size or len(buffer))
        buffer[:count] = self.arrived[:count]
        del self.arrived[:count]
        return count

    def send(self, data: memoryview) -> int:  # type: ignore[override]
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
    """Some sessions of one device; connection 0 is the client of the first, 1 its upstream, and so on."""

    def __init__(self, sessions: int, allowance: Allowance, room: int) -> None:
        self.reactor = ScriptedReactor()
        self.connections = [Connection(fd, room) for fd in range(2 * sessions)]
        self.outcomes: list[list[Outcome]] = []
        self.relays: list[Relay] = []
        self.sides: list[RelaySide] = []
        reactor: Any = self.reactor
        socks: list[Any] = [*self.connections]
        for number in range(sessions):
            session = make_session()
            session.allowance = allowance
            outcomes: list[Outcome] = []

            def ended(_: Session, outcome: Outcome, outcomes: list[Outcome] = outcomes) -> None:
                outcomes.append(outcome)

            relay = Relay(session, reactor, socks[2 * number], socks[2 * number + 1], ended)
            self.outcomes.append(outcomes)
            self.relays.append(relay)
            self.sides += [relay.down, relay.up]

    def deliver(self, number: int) -> None:
        """Give the relay the events of a connection."""
        while self.reactor.repeated:
            self.connections[self.reactor.repeated.pop()].report()
        connection = self.connections[number]
        mask, connection.mask = connection.mask, 0
        if mask and not self.outcomes[number // 2]:
            self.sides[number].on_ready(connection.fd, mask)

    def turn(self) -> None:
        if self.reactor.agains:
            self.reactor.agains.pop(0).resume()

    def run(self) -> None:
        """Give every event and every turn, until there are none."""
        while any(each.mask for each in self.connections) or self.reactor.agains or self.reactor.repeated:
            for number in range(len(self.connections)):
                self.deliver(number)
            self.turn()

    @property
    def moved(self) -> int:
        """Bytes that the relays have read."""
        return sum(each.sent - len(each.arrived) for each in self.connections)

    def sent_to(self, number: int) -> bytes:
        return pattern(self.connections[number ^ 1].sent)


numbers = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("arrive"), numbers, st.sampled_from([1, 7, 100, 3_000, 70_000])),
    st.tuples(st.sampled_from(["deliver", "finish"]), numbers, st.just(0)),
    st.tuples(st.just("make room"), numbers, st.sampled_from([1, 50, 5_000, 200_000])),
    st.tuples(st.sampled_from(["turn", "turn", "cut", "lift"]), st.just(0), st.just(0)),
)


@examples(300)  # a second, because there are many orders of events
@given(st.sampled_from([0, 1, 10, 500, 80_000]), st.sampled_from([0, 10, 1 << 20]), st.lists(steps, max_size=40))
def test_the_allowance_is_the_most_that_is_read_until_the_lift_and_then_every_byte_arrives_in_order(
    granted: int, room: int, script: list[tuple[str, int, int]]
) -> None:
    allowance = Allowance(granted)
    kernel = Kernel(2, allowance, room)
    finished: set[int] = set()
    for step, number, count in script:
        if step == "arrive" and number not in finished:
            kernel.connections[number].arrive(count)
        elif step == "finish":
            finished.add(number)
            kernel.connections[number].finish()
        elif step == "deliver":
            kernel.deliver(number)
        elif step == "make room":
            kernel.connections[number].make_room(count)
        elif step == "turn":
            kernel.turn()
        elif step == "cut":
            kernel.relays[0].cut(Reason.EVICTED)
        elif step == "lift":
            allowance.lift()
        assert allowance.lifted or kernel.moved <= granted
    allowance.lift()
    for each in kernel.connections:
        each.make_room(1 << 24)
    kernel.run()
    assert not allowance._waiting
    for session, outcomes in enumerate(kernel.outcomes):
        down, up = 2 * session, 2 * session + 1
        if outcomes != [Completed(Reason.EVICTED)]:
            assert kernel.connections[down].took == kernel.sent_to(down)
            assert kernel.connections[up].took == kernel.sent_to(up)
            assert outcomes == [Completed()] * ({down, up} <= finished)
            if not outcomes:
                assert [kernel.connections[up].half_closed, kernel.connections[down].half_closed] == [
                    each in finished for each in (down, up)
                ]
