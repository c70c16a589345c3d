"""Sessions that have a task: their bytes are carried in the reactor where both ends are plain sockets."""

import errno
import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf

import attrs
import pytest
import trio
import trio.testing

from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.quotas import limit
from tests.support.reactors import deadlines_of, open_reactor
from tests.support.wires import receive_all, receive_exactly, stream, tcp_pair
from trioedge.loop.reactor import Reactor, Ready
from trioedge.loop.sockets import reset as reset_socket
from trioedge.relay import carry as carry_module
from trioedge.relay.carry import carry, kernel_paces, lend
from trioedge.relay.socket_relay import Ended, Relay
from trioedge.relay.stream_relay import StreamRelay
from trioedge.relay.streams import PlainStream, ReplayStream
from trioedge.session.allowance import Allowance
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Outcome, Reason
from trioedge.testing import make_session

LOCAL, TCP = "unix", "192.0.2.1"


@attrs.define(eq=False)
class Ends:
    """A session between a client and an upstream over sockets; `client` and `upstream` are the far ends."""

    session: Session
    client: socket.socket
    upstream: socket.socket
    down: PlainStream
    up: PlainStream

    def close(self) -> None:
        for end in (self.client, self.upstream, self.down, self.up):
            end.close()

    def are_closed(self) -> bool:
        """Tell whether the edge has closed its two sockets."""
        return all(each._sock is None for each in (self.down, self.up))


def make_ends(source: str = TCP, pair: Callable[[], tuple[socket.socket, socket.socket]] = tcp_pair) -> Ends:
    client, down = tcp_pair()
    upstream, up = pair()
    session = make_session(source, now=trio.current_time())
    session.stream = PlainStream(down)
    return Ends(session, client, upstream, session.stream, PlainStream(up))


def local_pair() -> tuple[socket.socket, socket.socket]:
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
    return near, far


@asynccontextmanager
async def open_ends(source: str = TCP) -> AsyncIterator[tuple[Ends, Reactor]]:
    async with open_reactor() as reactor:
        ends = make_ends(source)
        try:
            yield ends, reactor
            assert len(reactor) == 0, "a socket is registered"
            assert deadlines_of(reactor) == 0, "a deadline is set"
        finally:
            ends.close()


@pytest.mark.parametrize(
    ("source", "local", "down_rate", "up_rate", "paces"),
    [
        (TCP, False, inf, inf, True),
        (TCP, False, 1e6, inf, True),
        (TCP, True, inf, inf, True),
        (TCP, True, 1e6, inf, False),
        (TCP, True, inf, 1e6, False),
        (LOCAL, False, inf, inf, True),
        (LOCAL, False, inf, 1e6, False),
    ],
)
def test_the_kernel_paces_tcp_and_what_has_no_rate(
    source: str, local: bool, down_rate: float, up_rate: float, paces: bool
) -> None:
    session = make_session(source)
    session.pace(down_rate, up_rate)
    assert kernel_paces(session, local=local) is paces


async def test_two_plain_sockets_are_carried_in_the_reactor_and_closed() -> None:
    async with open_ends() as (ends, reactor), trio.open_nursery() as nursery:
        outcomes: list[Outcome] = []

        @nursery.start_soon
        async def run() -> None:
            outcomes.append(await carry(ends.session, ends.up, reactor))

        client, upstream = stream(ends.client), stream(ends.upstream)
        await client.send_all(b"question")
        await client.send_eof()
        assert await receive_all(upstream) == b"question"
        assert isinstance(ends.session.carrier, Relay)
        await upstream.send_all(b"answer")
        await upstream.send_eof()
        assert await receive_all(client) == b"answer"
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == [Completed()]
        assert ends.are_closed()


async def test_bytes_that_were_read_ahead_on_either_side_come_first_and_are_charged() -> None:
    async with open_ends() as (ends, reactor), trio.open_nursery() as nursery:
        ends.session.allowance = allowance = Allowance(100)
        ends.down.unread(b"head ")
        ends.up.unread(b"greeting ")
        nursery.start_soon(carry, ends.session, ends.up, reactor)
        client, upstream = stream(ends.client), stream(ends.upstream)
        await client.send_all(b"body")
        await upstream.send_all(b"answer")
        assert await receive_exactly(upstream, 9) == b"head body"
        assert await receive_exactly(client, 15) == b"greeting answer"
        assert (ends.session.bytes_up, ends.session.bytes_down, allowance.left) == (9, 15, 100 - 24)
        ends.session.cut(Reason.EVICTED)


async def test_bytes_that_were_read_ahead_of_the_client_use_a_quota_up_before_those_of_the_upstream() -> None:
    async with open_ends() as (ends, reactor):
        limit(ends.session, 4)
        ends.down.unread(b"head")
        ends.up.unread(b"greeting")
        assert await carry(ends.session, ends.up, reactor) == Completed(Reason.QUOTA)
        assert (ends.session.bytes_up, ends.session.bytes_down) == (4, 0)
        assert ends.are_closed()


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_bytes_that_were_read_ahead_wait_for_a_lift_if_the_allowance_is_too_small(side: str) -> None:
    async with open_ends() as (ends, reactor), trio.open_nursery() as nursery:
        ends.session.allowance = allowance = Allowance(3)
        (ends.down if side == "client" else ends.up).unread(b"head")
        nursery.start_soon(carry, ends.session, ends.up, reactor)
        await trio.testing.wait_all_tasks_blocked()
        assert allowance._waiting
        assert ends.session.carrier is None
        allowance.lift()
        assert await receive_exactly(stream(ends.upstream if side == "client" else ends.client), 4) == b"head"
        ends.session.cut(Reason.EVICTED)


Kind = Callable[[PlainStream], trio.abc.HalfCloseableStream]
both_relays = pytest.mark.parametrize("kind", [lambda up: up, ReplayStream], ids=["sockets", "streams"])


@both_relays
@pytest.mark.parametrize("second", [lambda up: up, ReplayStream], ids=["then sockets", "then streams"])
async def test_a_session_that_is_relayed_cannot_be_relayed_again_and_goes_on(kind: Kind, second: Kind) -> None:
    async with open_ends() as (ends, reactor), trio.open_nursery() as nursery:
        nursery.start_soon(carry, ends.session, kind(ends.up), reactor)
        await trio.testing.wait_all_tasks_blocked()
        carrier = ends.session.carrier
        far, near = tcp_pair()
        with pytest.raises(RuntimeError, match=r"session \d+ has a relay already: a session is relayed once"):
            await carry(ends.session, second(PlainStream(near)), reactor)
        assert near.fileno() == -1, "the second upstream is closed"
        far.close()
        assert ends.session.carrier is carrier
        client = stream(ends.client)
        await client.send_all(b"ping")
        assert await receive_exactly(stream(ends.upstream), 4) == b"ping"
        assert ends.session.cut(Reason.EVICTED)
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(client)


async def test_a_bare_socket_is_not_lent_while_a_relay_carries_its_session() -> None:
    """As where a middleware relays the session itself and calls the endpoint behind it all the same."""
    async with open_ends() as (ends, reactor), trio.open_nursery() as nursery:
        nursery.start_soon(carry, ends.session, ReplayStream(ends.up), reactor)
        await trio.testing.wait_all_tasks_blocked()
        carrier = ends.session.carrier

        def begin(sock: socket.SocketType, prefetched: bytes, ended: Ended) -> None:
            raise AssertionError("begun")

        with pytest.raises(RuntimeError, match="has a relay already"):
            await lend(ends.session, ends.down, reactor, begin)
        assert ends.session.carrier is carrier
        ends.session.cut(Reason.EVICTED)


@both_relays
async def test_a_second_relay_is_refused_while_the_first_one_waits_for_the_allowance(kind: Kind) -> None:
    async with open_ends() as (ends, reactor), trio.open_nursery() as nursery:
        ends.session.allowance = allowance = Allowance(3)
        ends.down.unread(b"head")
        nursery.start_soon(carry, ends.session, ends.up, reactor)
        await trio.testing.wait_all_tasks_blocked()
        assert ends.session.carrier is None
        far, near = tcp_pair()
        with pytest.raises(trio.ClosedResourceError):
            await carry(ends.session, kind(PlainStream(near)), reactor)
        assert near.fileno() == -1
        far.close()
        allowance.lift()
        assert await receive_exactly(stream(ends.upstream), 4) == b"head"
        assert ends.session.cut(Reason.EVICTED)
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(stream(ends.client))


@both_relays
async def test_a_session_that_has_ended_or_has_no_stream_cannot_be_relayed(kind: Kind) -> None:
    async with open_ends() as (ends, reactor):
        without_task = make_session()
        with pytest.raises(RuntimeError, match=r"session \d+ has no stream: only a session with a task"):
            await carry(without_task, kind(ends.up), reactor)
        assert ends.up._sock is None
        far, near = tcp_pair()
        ends.session.end(Completed())
        with pytest.raises(RuntimeError, match=r"session \d+ has ended"):
            await carry(ends.session, kind(PlainStream(near)), reactor)
        assert near.fileno() == -1
        far.close()


@both_relays
async def test_a_session_that_was_cut_before_its_relay_is_not_served(kind: Kind) -> None:
    async with open_ends() as (ends, reactor):
        ends.session.cut(Reason.EVICTED)
        assert await carry(ends.session, kind(ends.up), reactor) == Completed(Reason.EVICTED)
        assert ends.up._sock is None


async def test_a_session_that_is_cut_while_another_task_waits_to_relay_it_is_not_served() -> None:
    async with open_ends() as (ends, reactor), trio.open_nursery() as nursery:
        ends.session.allowance = allowance = Allowance(3)
        ends.down.unread(b"head")
        outcomes: list[Outcome] = []

        @nursery.start_soon
        async def run() -> None:
            outcomes.append(await carry(ends.session, ends.up, reactor))

        await trio.testing.wait_all_tasks_blocked()
        ends.session.cut(Reason.EVICTED)
        allowance.lift()
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == [Completed(Reason.EVICTED)]
        assert ends.are_closed()


@pytest.mark.parametrize("how", ["at once", "after a wait", "cancelled in a wait"])
async def test_a_socket_that_carries_another_session_is_refused_and_goes_on(how: str) -> None:
    async with open_ends() as (first, reactor), trio.open_nursery() as nursery:
        second = make_ends()
        shared = PlainStream(first.up.socket)
        refused: list[str] = []
        scope = trio.CancelScope()

        async def relay_second() -> None:
            with scope:
                try:
                    await carry(second.session, shared, reactor)
                except RuntimeError as error:
                    refused.append(str(error))

        if how != "at once":  # the socket is free yet
            second.session.allowance = allowance = Allowance(0)
            second.down.unread(b"head")
            nursery.start_soon(relay_second)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(carry, first.session, first.up, reactor)
        await trio.testing.wait_all_tasks_blocked()
        if how == "at once":
            nursery.start_soon(relay_second)
        elif how == "after a wait":
            allowance.lift()
        else:
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert len(refused) == (how != "cancelled in a wait")
        assert all("carries another session already: each session needs a socket" in text for text in refused)
        assert second.session.carrier is None
        second.close()
        client, upstream = stream(first.client), stream(first.upstream)
        await client.send_all(b"ping")
        assert await receive_exactly(upstream, 4) == b"ping"
        await upstream.send_all(b"pong")
        assert await receive_exactly(client, 4) == b"pong"
        assert first.session.cut(Reason.EVICTED)


@pytest.mark.parametrize("source", [TCP, LOCAL])
async def test_a_rate_that_the_kernel_cannot_keep_makes_a_stream_relay(source: str) -> None:
    async with open_reactor() as reactor:
        ends = make_ends(source, local_pair if source == TCP else tcp_pair)
        ends.session.pace(1e6, inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, ends.session, ends.up, reactor)
            await stream(ends.client).send_all(b"ping")
            assert await receive_exactly(PlainStream(ends.upstream), 4) == b"ping"
            assert isinstance(ends.session.carrier, StreamRelay)
            ends.session.cut(Reason.EVICTED)
        assert ends.are_closed()
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(stream(ends.client))
        ends.close()


@pytest.mark.parametrize("order", ["the answer, then the failed write", "the failed write, then the answer"])
async def test_an_answer_reaches_a_client_whose_upload_failed(order: str) -> None:
    """Over streams, because the upstream is a local socket and there is a rate."""
    answer = b"413 too large, " * 10_000
    async with open_reactor() as reactor:
        ends = make_ends(pair=local_pair)
        ends.session.pace(1e9, 1e9)
        outcomes: list[Outcome] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def run() -> None:
                outcomes.append(await carry(ends.session, ends.up, reactor))

            client, upstream = stream(ends.client), PlainStream(ends.upstream)
            if order.startswith("the failed write"):
                ends.upstream.shutdown(socket.SHUT_RD)
                await client.send_all(b"more of the request")
                await trio.testing.wait_all_tasks_blocked(0.01)
            await upstream.send_all(answer)
            await upstream.aclose()
            await trio.testing.wait_all_tasks_blocked(0.01)
            if not outcomes:
                await client.send_all(b"more of the request")
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert await receive_all(client) == answer
        assert [outcome.reason for outcome in outcomes] == [Reason.RESET]
        ends.close()


@pytest.mark.parametrize("reset", [False, True], ids=["the client has finished", "the client is gone"])
@pytest.mark.parametrize("rate", [inf, 1e9], ids=["sockets", "streams"])
async def test_an_upstream_on_a_local_socket_can_ask_whether_the_client_is_gone(reset: bool, rate: float) -> None:
    async with open_reactor() as reactor, trio.open_nursery() as nursery:
        ends = make_ends(pair=local_pair)
        ends.session.pace(rate, rate)
        nursery.start_soon(carry, ends.session, ends.up, reactor)
        upstream = PlainStream(ends.upstream)
        await stream(ends.client).send_all(b"half of it")
        assert await upstream.receive_some() == b"half of it"
        if reset:
            reset_socket(ends.client)
        else:
            ends.client.shutdown(socket.SHUT_WR)
        assert await upstream.receive_some() == b""
        poll = select.poll()
        poll.register(ends.upstream, select.POLLRDHUP)
        [(_, events)] = poll.poll(0)
        assert bool(events & select.POLLHUP) is reset
        assert events & select.POLLRDHUP
        nursery.cancel_scope.cancel()
    ends.close()


@pytest.mark.parametrize("kind", ["sockets", "streams"])
async def test_a_cancel_at_any_step_closes_both_sides_and_leaves_no_deadline(kind: str) -> None:
    made: list[Ends] = []
    reactors: list[Reactor] = []

    async def live() -> None:
        async with open_reactor() as reactor, trio.open_nursery() as nursery:
            reactors.append(reactor)
            made.append(ends := make_ends())
            up = ends.up if kind == "sockets" else ReplayStream(ends.up)
            ends.session.allowance = allowance = Allowance(0)
            ends.down.unread(b"head")
            nursery.start_soon(session_task, ends, up, reactor)
            await trio.testing.wait_all_tasks_blocked()
            allowance.lift()
            upstream = stream(ends.upstream)
            assert await receive_exactly(upstream, 4) == b"head"
            await upstream.send_eof()
            await stream(ends.client).send_eof()
            assert await receive_all(upstream) == b""

    async def session_task(ends: Ends, up: trio.abc.HalfCloseableStream, reactor: Reactor) -> None:
        try:
            await carry(ends.session, up, reactor)
        finally:
            assert ends.up._sock is None, "the upstream is closed when carry returns"
            ends.down.close_reset()  # as a session's task does

    def check() -> None:
        made[-1].close()
        assert deadlines_of(reactors[-1]) == 0
        assert left_open() == before

    await live()
    made[-1].close()
    before = left_open()
    assert await cancel_at_every_step(live, check) > 8


def fails(*_: object) -> None:
    raise OSError(errno.ENOSPC, "no space left on device")


@pytest.mark.parametrize("what", ["the client's socket", "both sockets", "the relay"])
async def test_a_relay_that_cannot_begin_raises_and_leaves_nothing(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_ends() as (ends, reactor):
        if what == "the relay":
            monkeypatch.setattr(carry_module, "Relay", fails)
        else:
            add, down = Reactor.add_reader, ends.down.socket.fileno()

            def add_or_fail(self: Reactor, fd: int, ready: Ready) -> None:
                if what == "both sockets" or fd == down:
                    fails()
                add(self, fd, ready)

            monkeypatch.setattr(Reactor, "add_reader", add_or_fail)
        with pytest.raises(OSError, match="no space left"):
            await carry(ends.session, ends.up, reactor)
        assert ends.are_closed()
        for sock in (ends.client, ends.upstream):
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(stream(sock))


@pytest.mark.parametrize("carrier", [False, True])
async def test_a_socket_that_nothing_begins_to_carry_is_reset(carrier: bool) -> None:
    async with open_ends() as (ends, reactor):
        cut: list[Reason] = []

        class Carrier:
            def cut(self, reason: Reason) -> None:
                cut.append(reason)

        def begin(sock: socket.SocketType, prefetched: bytes, ended: Ended) -> None:
            if carrier:
                ends.session.carrier = Carrier()  # type: ignore[assignment]
            raise LookupError("bug")

        with pytest.raises(LookupError):
            await lend(ends.session, ends.down, reactor, begin)
        assert len(cut) == carrier
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(stream(ends.client))
        await ends.up.aclose()


async def test_the_close_of_an_upstream_stream_takes_no_longer_than_the_half_closed_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Slow(ReplayStream):
        """Its last words wait for a reader that never reads, as those of TLS may."""

        async def aclose(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                await super().aclose()

    near, far = trio.testing.memory_stream_pair()
    client, down = trio.testing.memory_stream_pair()
    session = make_session()
    session.stream = down
    session.half_closed_seconds = 5.0
    await client.send_eof()
    await far.send_eof()
    async with open_reactor() as reactor:
        assert await carry(session, Slow(near), reactor) == Completed()
    assert trio.current_time() == 5.0
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()
