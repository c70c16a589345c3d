"""The idle limits of the relay over sockets."""

import socket

import pytest
import trio
import trio.testing

from tests.support.relays import open_wires, settle
from tests.support.scripted_relay import CLIENT_FD, ENDED, ScriptedRelay
from tests.support.wires import tcp_pair
from trioedge.loop.reactor import READABLE, Reactor
from trioedge.relay import socket_relay
from trioedge.relay.socket_relay import Relay
from trioedge.session.allowance import Allowance
from trioedge.session.verdict import Outcome, Reason
from trioedge.telemetry.observer import Observer
from trioedge.testing import make_session


async def test_a_silent_session_is_cut_at_its_idle_limit_and_a_byte_begins_it_anew(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with open_wires() as wires:
        wire = wires.connect(idle_seconds=30.0)
        mock_clock.jump(29)
        await settle()
        wire.client.send(b"x")
        await settle()
        assert wire.upstream.recv(1) == b"x"
        mock_clock.jump(29)
        await settle()
        assert wire.outcomes == []
        mock_clock.jump(1.1)
        await settle()
        assert [outcome.reason for outcome in wire.outcomes] == [Reason.IDLE]


async def test_a_half_closed_session_is_cut_at_the_shorter_limit(mock_clock: trio.testing.MockClock) -> None:
    async with open_wires() as wires:
        wire = wires.connect(idle_seconds=600.0, half_closed_seconds=60.0)
        mock_clock.jump(100)
        await settle()
        wire.client.shutdown(socket.SHUT_WR)
        await settle()
        mock_clock.jump(59)
        await settle()
        assert wire.outcomes == []
        mock_clock.jump(1.1)
        await settle()
        assert [outcome.reason for outcome in wire.outcomes] == [Reason.IDLE]


async def test_a_paused_session_is_not_idle_and_its_limit_begins_anew_when_the_pause_ends(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with open_wires() as wires:
        allowance = Allowance(0)
        wire = wires.connect(idle_seconds=30.0, allowance=allowance)
        wire.client.send(b"x")
        for _ in range(5):
            await settle()
            mock_clock.jump(29)
        await settle()
        assert wire.outcomes == []
        wires.reactor.refresh()
        allowance.lift()
        await settle()
        assert wire.upstream.recv(1) == b"x"
        mock_clock.jump(29)
        await settle()
        assert wire.outcomes == []
        mock_clock.jump(1.1)
        await settle()
        assert [outcome.reason for outcome in wire.outcomes] == [Reason.IDLE]


def test_the_shorter_of_both_limits_applies_after_a_half_close(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ScriptedRelay(client=[b""])
    script.session.idle_seconds, script.session.half_closed_seconds = 10.0, 60.0
    script.reactor.now = 200.0
    script.down.on_ready(CLIENT_FD, READABLE | ENDED)
    monkeypatch.setattr(socket_relay, "unacknowledged_bytes", lambda sock: 0)
    script.relay.expire(209.9)
    assert script.outcomes == []
    script.relay.expire(210.1)
    assert [outcome.reason for outcome in script.outcomes] == [Reason.IDLE]


async def test_a_slow_reader_is_not_idle_while_the_kernel_delivers_bytes(mock_clock: trio.testing.MockClock) -> None:
    client, down = tcp_pair()
    upstream, up = tcp_pair()
    reactor = Reactor(Observer())
    session = make_session(now=0.0)
    session.idle_seconds = 10.0
    outcomes: list[Outcome] = []
    relay = Relay(session, reactor, down, up, lambda _, outcome: outcomes.append(outcome))
    try:
        while True:
            down.send(bytes(65536))
    except BlockingIOError:
        pass
    relay.expire(10.1)  # the client has yet to take them
    assert outcomes == []
    client.recv(1 << 20)
    relay.expire(20.2)  # it took some
    assert outcomes == []
    relay.expire(30.3)  # it took none for ten seconds
    assert [outcome.reason for outcome in outcomes] == [Reason.IDLE]
    for sock in (client, upstream):
        sock.close()
    reactor._epoll.close()


def test_a_pause_does_not_count_as_idle_and_the_limit_begins_anew_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_relay, "unacknowledged_bytes", lambda sock: 0)
    allowance = Allowance(0)
    script = ScriptedRelay(allowance=allowance)
    script.down.on_ready(CLIENT_FD, READABLE)
    script.session.idle_seconds = 10.0
    for now in (110.1, 120.2, 130.3):
        script.reactor.now = now
        script.relay.expire(now)
    script.reactor.now = 139.0
    allowance.lift()
    script.run()
    script.relay.expire(148.9)
    assert script.outcomes == []
    script.relay.expire(149.1)
    assert [outcome.reason for outcome in script.outcomes] == [Reason.IDLE]
