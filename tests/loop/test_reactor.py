import errno
import os
import socket
import time
from itertools import pairwise

import attrs
import pytest
import trio
import trio.lowlevel
import trio.testing

from tests.support.open_files import open_files
from tests.support.reactors import open_reactor
from tests.support.wires import tcp_pair
from trioedge.loop.reactor import (
    BATCH_EVENTS,
    LONG_YIELD_SECONDS,
    READABLE,
    TICK_SECONDS,
    TURN_SECONDS,
    WRITABLE,
    Reactor,
)
from trioedge.telemetry.log import EdgeLog


@attrs.define(eq=False)
class Owner:
    """Records the calls of the reactor, and raises in each if `fails`."""

    fails: bool = False
    masks: list[int] = attrs.field(factory=list)
    resumed: int = 0
    expired: list[float] = attrs.field(factory=list)
    faults: list[BaseException] = attrs.field(factory=list)
    told: trio.Event = attrs.field(factory=trio.Event)

    def _note(self) -> None:
        self.told.set()
        if self.fails:
            raise LookupError("as asked")

    def on_ready(self, fd: int, mask: int) -> None:
        self.masks.append(mask)
        self._note()

    def resume(self) -> None:
        self.resumed += 1
        self._note()

    def expire(self, now: float) -> None:
        self.expired.append(now)
        self._note()

    def crashed(self, fault: BaseException) -> None:
        self.faults.append(fault)


async def test_a_socket_is_reported_once_for_each_change() -> None:
    async with open_reactor() as reactor:
        near, far = tcp_pair()
        owner = Owner()
        reactor.add(near.fileno(), owner)
        await owner.told.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert owner.masks == [WRITABLE]
        far.send(b"x")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert owner.masks == [WRITABLE, WRITABLE | READABLE]
        reactor.remove(near.fileno())
        far.send(b"x")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(owner.masks) == 2
        near.close()
        far.close()


async def test_repeat_reports_once_more_what_a_socket_is_ready_for() -> None:
    async with open_reactor() as reactor:
        near, far = tcp_pair()
        owner = Owner()
        far.send(b"x")
        reactor.add(near.fileno(), owner)
        for times in (1, 2, 3):
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert owner.masks == [WRITABLE | READABLE] * times
            reactor.repeat(near.fileno())
            reactor.repeat(near.fileno())
        reactor.remove(near.fileno())
        near.close()
        far.close()


async def test_an_exception_costs_its_owner_and_no_other() -> None:
    async with open_reactor() as reactor:
        pairs = [tcp_pair() for _ in range(3)]
        owners = [Owner(), Owner(fails=True), Owner()]
        for (near, _), owner in zip(pairs, owners, strict=True):
            reactor.add(near.fileno(), owner)
            reactor.again(owner)
            reactor.set_deadline(owner, reactor.now)
        for owner in owners:
            await owner.told.wait()
        await trio.sleep(2 * TICK_SECONDS)
        assert [len(owner.faults) for owner in owners] == [0, 3, 0]
        assert [owner.resumed for owner in owners] == [1, 1, 1]
        assert [len(owner.expired) for owner in owners] == [1, 1, 1]
        for near, far in pairs:
            reactor.forget(near.fileno())
            near.close()
            far.close()


async def test_a_cancel_between_slow_deadlines_leaves_the_others_set() -> None:
    class Slow(Owner):
        def expire(self, now: float) -> None:
            super().expire(now)
            time.sleep(TURN_SECONDS)
            scope.cancel()

    reactor = Reactor(EdgeLog())
    owners = [Slow() for _ in range(3)]
    for owner in owners:
        reactor.set_deadline(owner, reactor.now)
    with trio.fail_after(5), trio.CancelScope() as scope:
        await reactor.run()
    assert scope.cancelled_caught
    assert sum(len(owner.expired) for owner in owners) == 1
    assert reactor._epoll.closed


async def test_other_tasks_run_while_an_owner_asks_to_be_resumed_for_ever() -> None:
    class Greedy(Owner):
        def resume(self) -> None:
            self.resumed += 1
            if not stop:
                reactor.again(self)

    stop = False
    async with open_reactor() as reactor:
        near, far = tcp_pair()
        greedy = Greedy()
        reactor.add(near.fileno(), greedy)
        reactor.again(greedy)
        longest = 0.0
        for _ in range(20):
            before = trio.current_time()
            await trio.lowlevel.checkpoint()
            longest = max(longest, trio.current_time() - before)
        assert greedy.resumed > 20
        assert longest < 100 * TURN_SECONDS  # a bound on turns, with room for a busy machine
        stop = True
        reactor.forget(near.fileno())
        near.close()
        far.close()


async def test_a_deadline_is_never_early_and_at_most_a_tick_late(autojump_clock: trio.testing.MockClock) -> None:
    async with open_reactor() as reactor:
        owners = [Owner() for _ in range(3)]
        start = reactor.refresh()
        for owner, seconds in zip(owners, (5.0, 1.0, 3.0), strict=True):
            reactor.set_deadline(owner, start + seconds)
        dropped = Owner()
        reactor.drop_deadline(dropped, reactor.set_deadline(dropped, start + 2))
        await trio.sleep(10)
        for owner, seconds in zip(owners, (5.0, 1.0, 3.0), strict=True):
            (when,) = owner.expired
            assert seconds <= when - start <= seconds + TICK_SECONDS + 1e-6
        assert dropped.expired == []


async def test_a_nearer_deadline_wakes_the_timer_earlier(autojump_clock: trio.testing.MockClock) -> None:
    async with open_reactor() as reactor:
        far, near = Owner(), Owner()
        reactor.set_deadline(far, reactor.refresh() + 1000)
        await trio.sleep(1)
        reactor.set_deadline(near, reactor.refresh() + 1)
        await near.told.wait()
        assert trio.current_time() == pytest.approx(2, abs=2 * TICK_SECONDS)


async def test_an_idle_reactor_never_wakes(autojump_clock: trio.testing.MockClock) -> None:
    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += 1

    async with open_reactor() as reactor:
        await trio.testing.wait_all_tasks_blocked()
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(86_400)
        trio.lowlevel.remove_instrument(steps)
        assert steps.count <= 2  # this test's own
        assert len(reactor) == 0


async def test_after_it_ends_no_descriptor_is_left() -> None:
    def files() -> int:
        return open_files()

    before = files()
    async with open_reactor():
        assert files() == before + 1
    assert files() == before


async def test_a_socket_that_is_removed_after_its_end_is_removed_already() -> None:
    near, far = tcp_pair()
    with near, far:
        async with open_reactor() as reactor:
            reactor.add_reader(near.fileno(), Owner())
        assert len(reactor) == 0
        reactor.remove(near.fileno())  # its epoll object is closed


async def test_a_listener_is_reported_until_no_client_waits() -> None:
    async with open_reactor() as reactor:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]

            class TakesOne(Owner):
                def on_ready(self, fd: int, mask: int) -> None:
                    try:
                        listener.accept()[0].close()
                        self.resumed += 1
                    except BlockingIOError:
                        pass

            owner = TakesOne()
            reactor.add_listener(listener.fileno(), owner)
            with trio.fail_after(5):
                while owner.resumed < 3:
                    await trio.lowlevel.checkpoint()
            reactor.remove(listener.fileno())
            for client in clients:
                client.close()


async def test_a_turn_ends_in_time_for_other_tasks(mock_clock: trio.testing.MockClock) -> None:
    """The clock moves only with the work: each call takes a tenth of a turn."""

    class Works(Owner):
        def resume(self) -> None:
            self.resumed += 1
            mock_clock.jump(TURN_SECONDS / 10)
            if self.resumed < 1000:
                reactor.again(self)

    async with open_reactor() as reactor:
        near, far = tcp_pair()
        works = Works()
        reactor.add(near.fileno(), works)
        reactor.again(works)
        seen = [0]
        while works.resumed < 1000:
            await trio.lowlevel.checkpoint()
            seen.append(works.resumed)
        # Trio may run the reactor twice between two steps of this task, in either order.
        assert max(later - earlier for earlier, later in pairwise(seen)) <= 30
        reactor.forget(near.fileno())
        near.close()
        far.close()


async def test_a_removed_socket_is_not_reported_and_may_be_added_again() -> None:
    async with open_reactor() as reactor:
        near, far = tcp_pair()
        first, second = Owner(), Owner()
        reactor.add(near.fileno(), first)
        await first.told.wait()
        reactor.remove(near.fileno())
        reactor.remove(near.fileno())
        reactor.add(near.fileno(), second)
        await second.told.wait()
        assert len(first.masks) == 1
        reactor.forget(near.fileno())
        near.close()
        far.close()


async def test_a_thousand_owners_that_ask_to_be_resumed_are_served_in_batches_and_in_order(
    mock_clock: trio.testing.MockClock,
) -> None:
    class Works(Owner):
        def resume(self) -> None:
            self.resumed += 1
            mock_clock.jump(TURN_SECONDS)
            order.append(self)

    order: list[Works] = []
    async with open_reactor() as reactor:
        near, far = tcp_pair()
        owners = [Works() for _ in range(1000)]
        reactor.add(near.fileno(), owners[0])
        for works in owners:
            reactor.again(works)
        seen = [0]
        while len(order) < len(owners):
            await trio.lowlevel.checkpoint()
            seen.append(len(order))
        assert order == owners
        assert max(later - earlier for earlier, later in pairwise(seen)) <= 2 * BATCH_EVENTS
        reactor.forget(near.fileno())
        near.close()
        far.close()


@pytest.mark.parametrize(
    ("seconds", "every_time"), [(0.0, True), (2 * LONG_YIELD_SECONDS, False)], ids=["short", "long"]
)
async def test_the_processor_is_not_yielded_again_after_a_peer_kept_it_for_long(
    monkeypatch: pytest.MonkeyPatch, seconds: float, every_time: bool
) -> None:
    yielded, now = 0, 0.0

    def hold() -> None:
        nonlocal yielded, now
        yielded += 1
        now += seconds

    monkeypatch.setattr("trioedge.loop.reactor.sched_yield", hold)
    monkeypatch.setattr("trioedge.loop.reactor.perf_counter", lambda: now)
    async with open_reactor() as reactor:
        near, far = tcp_pair()
        owner = Owner()
        reactor.add(near.fileno(), owner)
        for _ in range(5):
            far.send(b"x")
            await owner.told.wait()
            owner.told = trio.Event()
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert yielded >= 5 if every_time else yielded == 1
        reactor.remove(near.fileno())
        near.close()
        far.close()


@attrs.define(eq=False)
class Slow(Owner):
    """Takes more than a turn each time, on a clock that moves only then."""

    clock: trio.testing.MockClock = attrs.field(factory=trio.testing.MockClock)
    others: list[int] = attrs.field(factory=list)
    steps: list[int] = attrs.field(factory=list)

    def _note(self) -> None:
        self.clock.jump(2 * TURN_SECONDS)
        self.steps.append(len(self.others))


@pytest.mark.parametrize("what", ["events", "callbacks", "deadlines"])
async def test_other_tasks_run_after_each_callback_that_takes_a_whole_turn(
    what: str, mock_clock: trio.testing.MockClock
) -> None:
    async with open_reactor() as reactor, trio.open_nursery() as nursery:
        slow = Slow(clock=mock_clock)
        pairs = [tcp_pair() for _ in range(5)]

        async def other() -> None:
            while True:
                slow.others.append(1)
                await trio.lowlevel.checkpoint()

        await trio.testing.wait_all_tasks_blocked()
        reactor.refresh()
        for near, far in pairs:
            match what:
                case "events":
                    reactor.add(near.fileno(), slow)
                case "callbacks":
                    reactor.again(slow)
                case _:
                    reactor.set_deadline(attrs.evolve(slow), reactor.now + TICK_SECONDS)
            far.send(b"x")
        if what == "callbacks":
            reactor.add(pairs[0][0].fileno(), Owner())  # its first event wakes the reactor
        nursery.start_soon(other)
        mock_clock.jump(1)
        for _ in range(200):
            await trio.lowlevel.checkpoint()
        assert len(slow.steps) == 5
        assert slow.steps[-1] - slow.steps[0] >= 3, (
            "the other task ran in between; Trio shuffles which of the two goes first"
        )
        nursery.cancel_scope.cancel()
        for near, far in pairs:
            reactor.remove(near.fileno())
            near.close()
            far.close()


class Unendable(Owner):
    """An owner that raises in every call, also when it is to end itself."""

    def crashed(self, fault: BaseException) -> None:
        self.faults.append(fault)
        raise SystemError("cannot end")


class BrokenLog(EdgeLog):
    def fault(self, event: str, fault: BaseException, **facts: object) -> None:
        raise BaseExceptionGroup("the log fails", [LookupError("full")])


@pytest.mark.parametrize("log", [EdgeLog, BrokenLog])
@pytest.mark.parametrize("what", ["event", "callback", "deadline"])
async def test_an_owner_that_cannot_be_ended_and_a_log_that_fails_end_no_other(
    log: type[EdgeLog], what: str, mock_clock: trio.testing.MockClock
) -> None:
    reactor = Reactor(log())
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        owner, other = Unendable(fails=True), Owner()
        near, far = tcp_pair()
        next_near, next_far = tcp_pair()
        match what:
            case "event":
                reactor.add(near.fileno(), owner)
                far.send(b"x")
            case "callback":
                reactor.again(owner)
            case _:
                reactor.set_deadline(owner, reactor.refresh() + TICK_SECONDS)
        await trio.testing.wait_all_tasks_blocked()
        reactor.add(next_near.fileno(), other)
        next_far.send(b"x")
        mock_clock.jump(1)
        with trio.fail_after(600):
            while not (other.masks and owner.faults):
                await trio.lowlevel.checkpoint()
        assert isinstance(owner.faults[0], LookupError)
        nursery.cancel_scope.cancel()
    for sock in (near, far, next_near, next_far):
        sock.close()


async def test_a_callback_that_raises_no_exception_class_costs_its_owner_alone() -> None:
    class Exits(Owner):
        def on_ready(self, fd: int, mask: int) -> None:
            raise BaseExceptionGroup("of a user", [ValueError("odd")])

    async with open_reactor() as reactor:
        near, far = tcp_pair()
        owner = Exits()
        reactor.add(near.fileno(), owner)
        with trio.fail_after(1):
            while not owner.faults:
                await trio.sleep(0.001)
        reactor.remove(near.fileno())
        near.close()
        far.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ENOMEM, errno.EEXIST])
async def test_a_wait_that_the_kernel_refuses_is_made_again_and_ends_nothing(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait, refusals = trio.lowlevel.wait_readable, [code, code]

    async def wait_readable(fd: int) -> None:
        if refusals:
            raise OSError(refusals.pop(), os.strerror(code))
        await wait(fd)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wait_readable)
    async with open_reactor() as reactor:
        near, far = tcp_pair()
        with near, far:
            owner = Owner()
            reactor.add(near.fileno(), owner)
            far.send(b"x")
            with trio.fail_after(5):
                await owner.told.wait()
            reactor.remove(near.fileno())
    assert not refusals
