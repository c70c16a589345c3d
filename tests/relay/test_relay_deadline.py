"""The deadline of the relay over sockets: its idle limits, and who lives by them."""

import errno
import socket

import pytest
import trio
import trio.testing

from tests.support.relays import Wire, open_wires, settle
from tests.support.scripted_relay import CLIENT_FD, ENDED, FULL, UPSTREAM_FD, ScriptedRelay
from tests.support.wires import tcp_pair
from trioedge.loop.reactor import FAILED, READABLE, Reactor
from trioedge.loop.sockets import KEEP_ALIVE_SECONDS
from trioedge.relay import relay_deadline
from trioedge.relay.socket_relay import Relay
from trioedge.session.allowance import Allowance
from trioedge.session.verdict import Completed, Outcome, Reason
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_session


async def idles_after(seconds: int, wire: Wire, clock: trio.testing.MockClock) -> None:
    """Check that a session without a byte lives almost so long from now on, and no longer."""
    clock.jump(seconds - 1)
    await settle()
    assert wire.outcomes == []
    clock.jump(1.1)
    await settle()
    assert [outcome.reason for outcome in wire.outcomes] == [Reason.IDLE]


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
        await idles_after(30, wire, mock_clock)


async def test_a_silent_upstream_is_probed_once_its_session_has_lived_for_a_while(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with open_wires() as wires:
        wire = wires.connect(idle_seconds=600.0, half_closed_seconds=60.0)
        sock = wire.relay.up.sock
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        mock_clock.jump(60)
        await settle()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEP_ALIVE_SECONDS


async def test_a_half_closed_session_is_cut_at_the_shorter_limit(mock_clock: trio.testing.MockClock) -> None:
    async with open_wires() as wires:
        wire = wires.connect(idle_seconds=600.0, half_closed_seconds=60.0)
        mock_clock.jump(100)
        await settle()
        wire.client.shutdown(socket.SHUT_WR)
        await settle()
        await idles_after(60, wire, mock_clock)


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
        await idles_after(30, wire, mock_clock)


def test_the_shorter_of_both_limits_applies_after_a_half_close(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ScriptedRelay(client=[b""])
    script.session.idle_seconds, script.session.half_closed_seconds = 10.0, 60.0
    script.reactor.now = 200.0
    script.down.on_ready(CLIENT_FD, READABLE | ENDED)
    monkeypatch.setattr(relay_deadline, "unacknowledged_bytes", lambda sock: 0)
    script.relay.expire(209.9)
    assert script.outcomes == []
    script.relay.expire(210.1)
    assert [outcome.reason for outcome in script.outcomes] == [Reason.IDLE]


async def test_a_slow_reader_is_not_idle_while_the_kernel_delivers_bytes(mock_clock: trio.testing.MockClock) -> None:
    client, down = tcp_pair()
    upstream, up = tcp_pair()
    reactor = Reactor(EdgeLog())
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
    monkeypatch.setattr(relay_deadline, "unacknowledged_bytes", lambda sock: 0)
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


class Kernel:
    """What the kernel says of the bytes that one host has not acknowledged, while a relay is looked at.

    Attributes:
        owed: these bytes.
    """

    def __init__(self, script: ScriptedRelay, monkeypatch: pytest.MonkeyPatch, side: str = "client") -> None:
        self.owed = 0
        self._script = script
        slow = getattr(script, side)
        monkeypatch.setattr(relay_deadline, "unacknowledged_bytes", lambda sock: self.owed if sock is slow else 0)

    def expire(self) -> float:
        """Let the earliest deadline pass, and give its time."""
        deadlines = self._script.reactor.deadlines
        tick = min(deadlines, key=lambda tick: deadlines[tick])
        self._script.reactor.now = now = deadlines.pop(tick)
        self._script.relay.expire(now)
        return now


def test_a_client_that_never_reads_is_cut_at_the_limit_after_the_last_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ScriptedRelay(upstream=[bytes(65_536)], to_client=[FULL])
    script.session.idle_seconds = 3.0
    kernel = Kernel(script, monkeypatch)
    script.relay.down.moved, kernel.owed = 1_000_000, 700_000  # the rest is in the buffer of the client's host
    script.reactor.now = 100.3
    script.up.on_ready(UPSTREAM_FD, READABLE)
    script.up.on_ready(UPSTREAM_FD, READABLE)
    while not script.outcomes:
        now = kernel.expire()
    assert now == pytest.approx(103.3)
    assert script.outcomes == [Completed(Reason.IDLE, "no byte for 3 s")]


def test_a_client_that_reads_a_little_now_and_then_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ScriptedRelay(upstream=[bytes(65_536)], to_client=[FULL])
    script.session.idle_seconds = 3.0
    kernel = Kernel(script, monkeypatch)
    script.relay.down.moved, kernel.owed = 1_000_000, 700_000
    script.up.on_ready(UPSTREAM_FD, READABLE)
    now = took_at = 100.0
    while now < 150.0:
        if now - took_at > 2.5:
            took_at, kernel.owed = now, kernel.owed - 1
        now = kernel.expire()
        assert script.outcomes == []
    while not script.outcomes:
        now = kernel.expire()
    assert 3.0 <= now - took_at <= 3.0 + 3.0 / relay_deadline.LOOKS + 0.1


def test_an_idle_session_whose_bytes_were_all_taken_is_looked_at_once_in_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = ScriptedRelay(upstream=[b"an answer"])
    script.session.idle_seconds = 3.0
    kernel = Kernel(script, monkeypatch)
    script.reactor.deadlines = {1: 100.0 + 3.0 / relay_deadline.LOOKS}  # the limit is set after the relay began
    script.up.on_ready(UPSTREAM_FD, READABLE)
    looks = 0
    while not script.outcomes:
        now = kernel.expire()
        looks += 1
    assert (now, looks) == (103.0, 2)


def test_a_reset_is_noticed_while_the_other_side_takes_nothing_and_the_shorter_limit_applies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = ScriptedRelay(upstream=[bytes(65_536)], to_client=[FULL])
    kernel = Kernel(script, monkeypatch)
    kernel.owed = 700_000
    script.up.on_ready(UPSTREAM_FD, READABLE)
    script.reactor.now = 200.0
    script.upstream.error = errno.ECONNRESET
    script.up.on_ready(UPSTREAM_FD, READABLE | ENDED | FAILED)
    assert script.outcomes == []
    script.reactor.deadlines = {1: 200.0}
    while not script.outcomes:
        now = kernel.expire()
    assert now == pytest.approx(260.0, abs=8)
    assert [outcome.reason for outcome in script.outcomes] == [Reason.IDLE]


class SlowReader:
    """A session with a limit of 16 s, looked at each second while its reader is slow: at 101 s, and then at 109 s.

    Attributes:
        script: the session.
        kernel: has the bytes that the reader has not acknowledged.
    """

    def __init__(self, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.script = ScriptedRelay()
        self.script.session.idle_seconds, self.script.session.half_closed_seconds = 16.0, 8.0
        self.script.reactor.deadlines = {1: 101.0}  # the limits are set after the relay began
        self.kernel = Kernel(self.script, monkeypatch, side)
        self._side = side

    def write(self, count: int, now: float) -> None:
        """Move bytes into the kernel, which has them until the reader takes them."""
        script = self.script
        writer, read_by, fd = (
            (script.upstream, script.up, UPSTREAM_FD)
            if self._side == "client"
            else (script.client, script.down, CLIENT_FD)
        )
        script.reactor.now = now
        writer.reads.append(bytes(count))
        read_by.on_ready(fd, READABLE)
        self.kernel.owed += count

    def ended_at(self) -> float:
        """Let time pass until the session has ended."""
        while not self.script.outcomes:
            now = self.kernel.expire()
        assert self.script.outcomes == [Completed(Reason.IDLE, "no byte for 16 s")]
        return now


@pytest.mark.parametrize("side", ["client", "upstream"])
@pytest.mark.parametrize("count", [1, 1_000])
def test_bytes_that_a_reader_never_takes_are_life_when_they_are_written_and_not_later(
    side: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SlowReader(side, monkeypatch)
    assert reader.kernel.expire() == 101.0
    reader.write(count, now=103.0)
    assert reader.ended_at() == 119.0


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_a_first_look_that_comes_late_takes_bytes_that_were_not_delivered_for_no_life(
    side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SlowReader(side, monkeypatch)
    reader.write(1_000, now=100.5)
    reader.script.reactor.deadlines = {1: 105.0}
    assert reader.ended_at() == 116.5


@pytest.mark.parametrize("side", ["client", "upstream"])
@pytest.mark.parametrize("count", [1, 1_000])
def test_the_last_byte_that_a_slow_reader_takes_is_life(side: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = SlowReader(side, monkeypatch)
    reader.kernel.expire()
    reader.write(count, now=103.0)
    while reader.kernel.expire() < 112.0:
        pass
    reader.kernel.owed = 0
    assert reader.ended_at() == 129.0  # seen at 113


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_bytes_written_at_the_moment_of_a_look_are_life_of_that_moment(
    side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SlowReader(side, monkeypatch)
    reader.kernel.expire()
    reader.write(1_000, now=103.0)
    assert reader.kernel.expire() == 109.0
    reader.write(1_000, now=109.0)
    reader.kernel.owed -= 1_000  # they fill what the reader's host had free
    assert reader.ended_at() == 125.0


def test_a_first_backlog_brings_the_next_look_forward_and_leaves_one_deadline() -> None:
    script = ScriptedRelay(upstream=[b"an answer"], to_client=[FULL])
    script.session.idle_seconds = script.session.half_closed_seconds = 16.0
    script.reactor.now = 200.0
    script.up.on_ready(UPSTREAM_FD, READABLE)
    assert list(script.reactor.deadlines.values()) == [202.0]


def test_the_kernel_is_asked_for_the_last_byte_after_a_tenth_and_then_twice_as_long_up_to_1_6_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = ScriptedRelay(client=[b""], upstream=[bytes(20_000), b""])
    kernel = Kernel(script, monkeypatch)
    queued = 1
    monkeypatch.setattr(relay_deadline, "unsent_bytes", lambda sock: queued if sock is script.client else 0)
    script.relay.pacing = "kernel"
    script.reactor.now = 200.0
    script.down.on_ready(CLIENT_FD, READABLE | ENDED)
    script.up.on_ready(UPSTREAM_FD, READABLE | ENDED)
    script.reactor.run()
    assert (len(script.reactor.deadlines), script.outcomes) == (1, [])
    asked = [kernel.expire() - 200.0 for _ in range(7)]
    assert asked == pytest.approx([0.1, 0.3, 0.7, 1.5, 3.1, 4.7, 6.3])
    queued = 0
    kernel.expire()
    assert script.outcomes == [Completed()]
