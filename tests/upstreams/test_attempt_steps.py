"""Attempts step by step: the test moves the clock, gives the events and makes the kernel's answers."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
import trio

from tests.support.attempts import Noted
from tests.support.ports import closed_port, deaf_port
from tests.support.reactors import deadlines_of
from trioedge.loop.reactor import HUNG_UP, READABLE, WRITABLE, Reactor
from trioedge.services.context import SocketAddress
from trioedge.session.verdict import Reason
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams.attempt import NEXT_ADDRESS_SECONDS, RETRY_SECONDS, Attempt
from trioedge.upstreams.reachability import Reachability

LIMIT = 5.0


def local(port: int, host: str = "127.0.0.1") -> SocketAddress:
    return socket.AF_INET, (host, port)


class Trial:
    """An attempt at 0 s with a limit of 5 s; its reactor does not run."""

    def __init__(self, *, retries: int = 0, reach: Reachability | None = None) -> None:
        self.reactor = Reactor(EdgeLog())
        self.reactor.now = 0.0
        self.reach = reach or Reachability()
        self.noted = Noted()
        self.attempt = Attempt(self.reactor, "x", LIMIT, self.noted, retries, self.reach)

    @property
    def under_way(self) -> list[SocketAddress]:
        return [address for _, address, _ in self.attempt._pending.values()]

    def expire(self, now: float) -> None:
        """Have the deadline that is due by then expire, if there is one."""
        self.reactor.now = now
        while (item := self.reactor._deadlines.take(now + 0.05)) is not None:
            item.expire(now)

    def give(self, mask: int, number: int = 0) -> None:
        self.attempt.on_ready(list(self.attempt._pending)[number], mask)

    @property
    def reason(self) -> Reason | None:
        return None if self.noted.error is None else self.noted.error.reason

    def close(self) -> None:
        self.attempt.cancel()
        if self.noted.sock is not None:
            self.noted.sock.close()


@contextmanager
def answers(monkeypatch: pytest.MonkeyPatch, answer: Callable[[object], int]) -> Iterator[None]:
    """Have the kernel answer each connect with a code."""
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect_ex", lambda _, where: answer(where))
        yield


@pytest.mark.parametrize("silent", [1, 2, 3])
async def test_addresses_that_are_all_silent_fail_at_the_limit(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with answers(monkeypatch, lambda _: errno.EINPROGRESS):
        trial = Trial()
        trial.attempt.resolved([local(number) for number in range(1, silent + 1)])
        for step in range(silent):
            trial.expire(step * NEXT_ADDRESS_SECONDS)
            assert trial.under_way == [local(number) for number in range(1, step + 2)]
        trial.expire(LIMIT - 0.1)
        assert not trial.noted.called.is_set()
        trial.expire(LIMIT)
        assert trial.noted.error is not None
        assert str(trial.noted.error) == "upstream_timeout: x: no connection in time"
        assert (trial.under_way, deadlines_of(trial.reactor)) == ([], 0)
        assert [trial.reach.order([local(1), local(9)], LIMIT)[0] for _ in range(2)] == (
            [local(1), local(9)] if silent == 1 else [local(9)] * 2
        )


async def test_a_name_without_an_answer_fails_exactly_at_the_limit() -> None:
    trial = Trial()
    trial.attempt.expire(LIMIT)
    assert str(trial.noted.error) == "upstream_timeout: x: no address in time"


async def test_the_next_address_is_tried_at_the_limit_at_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    with answers(monkeypatch, lambda _: errno.EINPROGRESS):
        trial = Trial()
        trial.reactor.now = LIMIT - 0.1
        trial.attempt.resolved([local(1), local(2)])
        trial.expire(LIMIT)
        assert trial.reason is Reason.UPSTREAM_TIMEOUT


async def test_only_addresses_that_had_their_250_ms_are_dead_when_another_one_answers() -> None:
    async with deaf_port() as deaf:
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            first, live = local(closed_port()), local(listener.getsockname()[1])
            trial = Trial()
            trial.attempt.resolved([first, local(deaf), live])
            trial.expire(0.25)
            trial.reactor.now = 0.3
            trial.give(HUNG_UP)  # the first one refuses, so the third one is tried at once
            assert trial.under_way == [local(deaf), live]
            await trio.lowlevel.wait_writable(list(trial.attempt._pending.values())[1][0])
            trial.give(WRITABLE, 1)
            assert trial.noted.sock is not None
            assert trial.noted.sock.getpeername() == live[1]
            assert set(trial.reach._dead) == {first}
            trial.close()


async def test_an_address_that_is_silent_for_exactly_250_ms_is_dead() -> None:
    async with deaf_port() as deaf:
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            live = local(listener.getsockname()[1])
            trial = Trial()
            trial.attempt.resolved([local(deaf), live])
            trial.expire(NEXT_ADDRESS_SECONDS)
            await trio.lowlevel.wait_writable(list(trial.attempt._pending.values())[1][0])
            trial.give(WRITABLE, 1)
            assert [trial.reach.order([local(deaf), live], 1.0)[0] for _ in range(2)] == [live] * 2
            trial.close()


@pytest.mark.parametrize("mask", [WRITABLE, READABLE, READABLE | WRITABLE, HUNG_UP])
async def test_an_event_of_the_former_owner_of_the_descriptor_does_nothing(mask: int) -> None:
    async with deaf_port() as deaf:
        trial = Trial()
        trial.attempt.resolved([local(deaf)])
        trial.give(mask)
        assert not trial.noted.called.is_set()
        assert trial.under_way == [local(deaf)]
        trial.close()


@pytest.mark.parametrize(("mask", "readable"), [(WRITABLE, False), (READABLE | WRITABLE, True)])
async def test_a_connection_is_readable_if_its_event_said_so(mask: int, readable: bool) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        trial = Trial()
        trial.attempt.resolved([local(listener.getsockname()[1])])
        await trio.lowlevel.wait_writable(next(iter(trial.attempt._pending.values()))[0])
        trial.give(mask)
        assert trial.noted.readable is readable
        trial.close()


async def test_an_ipv6_address_as_getaddrinfo_gives_it_is_connected_to() -> None:
    with closing(socket.create_server(("::1", 0), family=socket.AF_INET6)) as listener:
        trial = Trial()
        trial.attempt.resolved([(socket.AF_INET6, listener.getsockname())])
        await trio.lowlevel.wait_writable(next(iter(trial.attempt._pending.values()))[0])
        trial.give(WRITABLE)
        assert trial.noted.sock is not None
        trial.close()


async def test_a_second_cancel_leaves_the_next_owner_of_the_descriptor_alone() -> None:
    async with deaf_port() as deaf:
        trial = Trial()
        trial.attempt.resolved([local(deaf)])
        ((fd, (sock, _, _)),) = trial.attempt._pending.items()
        trial.attempt.cancel()
        assert (sock.fileno(), len(trial.reactor), deadlines_of(trial.reactor)) == (-1, 0, 0)
        with socket.socket() as other:
            assert other.fileno() == fd
            trial.reactor.add(fd, trial.attempt)
            trial.attempt.cancel()
            assert len(trial.reactor) == 1
            trial.reactor.remove(fd)


async def test_an_address_that_fails_is_closed_at_once() -> None:
    trial = Trial()
    trial.attempt.resolved([local(closed_port())])
    ((fd, (sock, _, _)),) = trial.attempt._pending.items()
    await trio.lowlevel.wait_writable(sock)
    trial.attempt.on_ready(fd, HUNG_UP | WRITABLE)
    assert trial.reason is Reason.UPSTREAM_REFUSED
    assert (sock.fileno(), len(trial.reactor), trial.under_way) == (-1, 0, [])


GLOBAL_V6: SocketAddress = socket.AF_INET6, ("2001:db8::1", 80)
LINK_V6: SocketAddress = socket.AF_INET6, ("fe80::1", 80)
ZONE_V6: SocketAddress = socket.AF_INET6, ("fe80::1%lo", 80)
HINT = ": an address of a link needs its interface, as in [fe80::1%eth0]"


@pytest.mark.parametrize(
    ("address", "code", "reason", "hint"),
    [
        (local(1), errno.ECONNREFUSED, Reason.UPSTREAM_REFUSED, ""),
        (local(1), errno.ENETUNREACH, Reason.UPSTREAM_UNREACHABLE, ""),
        (local(1), errno.EINVAL, Reason.UPSTREAM_UNREACHABLE, ""),
        ((socket.AF_UNIX, "/x.sock"), errno.EINVAL, Reason.UPSTREAM_UNREACHABLE, ""),
        ((socket.AF_UNIX, "/x.sock"), errno.EAGAIN, Reason.UPSTREAM_REFUSED, ""),
        (GLOBAL_V6, errno.ENETUNREACH, Reason.UPSTREAM_UNREACHABLE, ""),
        (GLOBAL_V6, errno.EINVAL, Reason.UPSTREAM_UNREACHABLE, ""),
        (LINK_V6, errno.EINVAL, Reason.UPSTREAM_UNREACHABLE, HINT),
        (LINK_V6, errno.ENETUNREACH, Reason.UPSTREAM_UNREACHABLE, HINT),
        (LINK_V6, errno.ECONNREFUSED, Reason.UPSTREAM_REFUSED, ""),
        (ZONE_V6, errno.EINVAL, Reason.UPSTREAM_UNREACHABLE, ""),
    ],
)
async def test_a_code_of_the_kernel_is_a_reason_and_one_clear_line(
    address: SocketAddress, code: int, reason: Reason, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answers(monkeypatch, lambda _: code):
        trial = Trial()
        trial.attempt.resolved([address])
    assert str(trial.noted.error) == f"{reason}: x: {os.strerror(code)}{hint}"


async def test_an_error_of_python_without_a_code_is_unreachable() -> None:
    trial = Trial()
    trial.attempt.resolved([(socket.AF_UNIX, "/" + 200 * "x")])
    assert trial.reason is Reason.UPSTREAM_UNREACHABLE


async def test_a_kernel_without_memory_to_watch_a_socket_is_an_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    trial = Trial()
    with answers(monkeypatch, lambda _: errno.EINPROGRESS), monkeypatch.context() as patch:
        patch.setattr(Reactor, "add", full)
        trial.attempt.resolved([local(1)])
    assert trial.reason is Reason.OVERLOAD
    assert (trial.under_way, deadlines_of(trial.reactor)) == ([], 0)


async def test_the_error_is_that_of_the_first_address(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = {1: errno.ENETUNREACH, 2: errno.ECONNREFUSED, 3: errno.EACCES}
    with answers(monkeypatch, lambda where: codes[where[1]]):  # type: ignore[index]
        trial = Trial()
        trial.attempt.resolved([local(1), local(2), local(3)])
    assert str(trial.noted.error) == f"upstream_unreachable: x: {os.strerror(errno.ENETUNREACH)}"


@pytest.mark.parametrize("count", [1, 2])
async def test_only_one_of_several_addresses_is_remembered_as_dead(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with answers(monkeypatch, lambda _: errno.ECONNREFUSED):
        trial = Trial()
        trial.attempt.resolved([local(number) for number in range(1, count + 1)])
    assert len(trial.reach._dead) == (0 if count == 1 else 2)


async def test_a_destination_that_refuses_without_retries_is_not_down(monkeypatch: pytest.MonkeyPatch) -> None:
    with answers(monkeypatch, lambda _: errno.ECONNREFUSED):
        trial = Trial(retries=0)
        trial.attempt.resolved([local(1)])
    assert trial.reason is Reason.UPSTREAM_REFUSED
    assert not trial.reach.is_down("x", 0.0)


async def test_each_retry_comes_after_its_pause_and_tries_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[float, object]] = []

    def refuse(where: object) -> int:
        tried.append((trial.reactor.now, where))
        return errno.ECONNREFUSED if where == ("127.0.0.1", 1) else errno.ENETUNREACH

    trial = Trial(retries=2)
    with answers(monkeypatch, refuse):
        trial.attempt.resolved([local(1), local(2)])
        for now in (RETRY_SECONDS, 3 * RETRY_SECONDS, 7 * RETRY_SECONDS):
            trial.expire(now)
    assert [now for now, _ in tried] == pytest.approx([0.0, 0.0, 0.1, 0.1, 0.3, 0.3])
    assert {where for _, where in tried} == {("127.0.0.1", 1), ("127.0.0.1", 2)}
    assert trial.reason is Reason.UPSTREAM_REFUSED
    assert trial.reach.is_down("x", 1.0)


@pytest.mark.parametrize(("left", "again"), [(RETRY_SECONDS, False), (1.1 * RETRY_SECONDS, True)])
async def test_a_retry_that_would_begin_at_the_limit_is_not_waited_for(
    left: float, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(retries=5)
    trial.reactor.now, trial.attempt._due = 1.0, 1.0 + left
    with answers(monkeypatch, lambda _: errno.ECONNREFUSED):
        trial.attempt.resolved([local(1)])
    assert trial.noted.called.is_set() is not again
    trial.close()


async def test_an_upstream_that_is_down_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reach = Reachability()
    reach.exhausted("x", 0.0)
    trial = Trial(retries=5, reach=reach)
    with answers(monkeypatch, lambda _: errno.ECONNREFUSED):
        trial.attempt.resolved([local(1)])
    assert trial.reason is Reason.UPSTREAM_REFUSED


async def test_an_attempt_that_crashes_fails_with_the_fault_and_leaves_nothing() -> None:
    trial = Trial()
    trial.attempt.crashed(LookupError("bug"))
    assert trial.reason is Reason.FAULT
    assert deadlines_of(trial.reactor) == 0


async def test_without_a_number_of_retries_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    reactor, noted = Reactor(EdgeLog()), Noted()
    with answers(monkeypatch, lambda _: errno.ECONNREFUSED):
        Attempt(reactor, "x", reactor.now + LIMIT, noted).resolved([local(1)])
    assert noted.called.is_set()


async def test_an_answer_that_comes_after_a_cancel_connects_nothing() -> None:
    trial = Trial()
    trial.attempt.cancel()
    trial.attempt.resolved([local(1)])
    assert (trial.under_way, trial.noted.called.is_set()) == ([], False)
