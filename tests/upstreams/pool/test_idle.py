import socket
from collections.abc import Iterator
from math import inf

import pytest
import trio

from tests.support.wires import tcp_pair
from trioedge.loop.reactor import HUNG_UP, READABLE, Reactor
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams.pool.idle import MAX_IDLE_SECONDS, PROBE_SECONDS, Idle, IdleConnections


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = tcp_pair()
    near.setblocking(False)
    with near, far:
        yield near, far


Pair = tuple[socket.socket, socket.socket]


def test_a_connection_is_alive_until_the_upstream_closes_it_whatever_it_has_sent(pair: Pair) -> None:
    near, far = pair
    idle = Idle(near, 0.0, "", lambda _: None, readable=False)
    assert idle.alive()
    far.send(b"220 welcome")
    assert idle.alive()
    assert near.recv(100) == b"220 welcome"
    far.close()
    assert not idle.alive()


def test_an_event_marks_it_as_readable_and_a_hang_up_as_lost(pair: Pair) -> None:
    lost: list[Idle] = []
    idle = Idle(pair[0], 0.0, "", lost.append, readable=False)
    idle.on_ready(pair[0].fileno(), READABLE)
    assert (idle.readable, lost) == (True, [])
    idle.on_ready(pair[0].fileno(), HUNG_UP)
    idle.crashed(LookupError())
    assert lost == [idle, idle]


async def test_connections_are_taken_newest_first_and_closed_oldest_first() -> None:
    reactor = Reactor(EdgeLog())
    idles, made, far = IdleConnections(reactor), [], []
    for number in range(3):
        near, other = tcp_pair()
        far.append(other)
        reactor.add(near.fileno(), None)  # type: ignore[arg-type]
        made.append(Idle(near, float(number), "", lambda _: None, readable=False))
        idles.add(made[-1])
    assert list(idles) == made
    assert idles.pop_newest() is made[2]
    assert made[2].sock.fileno() in reactor
    assert idles.oldest is made[0]
    assert idles.close(made[0])
    assert not idles.close(made[0])
    assert not idles.close(made[2]), "it was taken"
    assert (len(idles), made[0].sock.fileno(), len(reactor)) == (1, -1, 2)
    idles.discard(made[2])
    assert (made[2].sock.fileno(), len(reactor)) == (-1, 1)
    idles.close(made[1])
    for each in far:
        each.close()
    await trio.lowlevel.checkpoint()


async def test_a_connection_is_probed_from_the_end_of_its_first_second_on() -> None:
    reactor = Reactor(EdgeLog())
    near, far = tcp_pair()
    with near, far:
        reactor.add(near.fileno(), None)  # type: ignore[arg-type]
        (idles := IdleConnections(reactor)).add(Idle(near, 10.0, "", lambda _: None, readable=False))
        for now, probed in ((10.9, 0), (11.0, 1)):
            assert idles.tend(now, 1) == 0
            assert near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == probed
        reactor.remove(near.fileno())
    await trio.lowlevel.checkpoint()


async def test_old_connections_are_closed_a_few_at_a_time_and_settled_ones_are_probed() -> None:
    reactor = Reactor(EdgeLog())
    idles, far = IdleConnections(reactor), []
    assert idles.next_tending(5.0) == inf
    for since in (0.0, 0.0, 10.0, 29.5):
        near, other = tcp_pair()
        far.append(other)
        reactor.add(near.fileno(), None)  # type: ignore[arg-type]
        idles.add(Idle(near, since, "", lambda _: None, readable=False))
    assert (idles.tend(30.0, 1), len(idles)) == (1, 3)
    options = [each.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for each in idles]
    assert options == [1, 1, 0]
    assert idles.oldest.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == PROBE_SECONDS
    assert idles.next_tending(30.0) == 31.0, "one is old, one is not settled"
    assert (idles.tend(31.0, 5), len(idles)) == (1, 2)
    assert [each.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for each in idles] == [1, 1]
    assert idles.next_tending(30.5) == 10.0 + MAX_IDLE_SECONDS, "the newest one has just settled"
    assert idles.next_tending(10.0 + MAX_IDLE_SECONDS) == 41.0, "the rest of a part that is old comes a second later"
    for each in list(idles):
        each.sock.close()
        each.probe()
    for other in far:
        other.close()
    await trio.lowlevel.checkpoint()
