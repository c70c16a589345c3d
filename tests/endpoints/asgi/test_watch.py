"""The deadline of a session of an application, by a clock that the test moves."""

from typing import Any, cast

import attrs

from trioedge.endpoints.asgi.client_side import ClientSide
from trioedge.endpoints.asgi.patience import Patience
from trioedge.endpoints.asgi.watch import Watch
from trioedge.loop.reactor import Reactor
from trioedge.session.verdict import Completed, Outcome, Reason
from trioedge.testing import make_session
from trioedge.testing.context import StillClock

LIMITS = Patience(head_seconds=10, keep_alive_seconds=30, write_seconds=20)


@attrs.define
class Client:
    """A client's side, as the test sets it."""

    began_at: float = 0.0
    active_at: float = 0.0
    paused: int = 0
    owes: bool = False
    ended: bool = False
    kernel: int = 0

    def unacknowledged(self) -> int:
        return self.kernel


@attrs.define
class World:
    """A watched connection that notes how it is ended."""

    clock: StillClock = attrs.field(factory=StillClock)
    client: Client = attrs.field(factory=Client)
    ends: list[Outcome | None] = attrs.field(factory=list)
    watch: Watch = attrs.field(init=False)
    session: Any = attrs.field(factory=make_session)

    def __attrs_post_init__(self) -> None:
        client, reactor = cast(ClientSide, self.client), cast(Reactor, self.clock)
        self.watch = Watch(self, self.session, client, LIMITS, reactor)

    def rest(self) -> None:
        self.ends.append(None)

    def stop(self, outcome: Outcome) -> None:
        self.ends.append(outcome)

    def run(self, until: float) -> None:
        """Move the clock, and call the deadlines on the way."""
        while self.clock.deadlines and not self.ends:
            tick, (item, due) = min(self.clock.deadlines.items(), key=lambda each: each[1][1])
            if due > until:
                break
            del self.clock.deadlines[tick]
            self.clock.now = due
            item.expire(due)
        if not self.ends:
            self.clock.now = until


def test_it_ends_a_session_without_a_request() -> None:
    world = World()
    world.run(9.9)
    assert world.ends == []
    world.run(20)
    assert (world.clock.now, world.ends) == (10, [Completed(Reason.IDLE, "no request within 10 s")])


def test_it_rests_a_session_without_a_further_request() -> None:
    world = World()
    world.run(5)
    world.watch.begun()
    world.run(50)
    world.watch.completed()
    world.run(100)
    assert (world.clock.now, world.ends) == (80, [None])


def test_it_has_one_deadline_however_many_requests_there_are() -> None:
    world = World()
    for second in range(200):
        world.watch.begun()
        world.watch.completed()
        world.run(second / 10)
        assert len(world.clock.deadlines) == 1


def test_a_request_under_way_has_the_idle_limit_also_a_new_one() -> None:
    world = World()
    world.watch.begun()
    world.run(100)
    world.session.idle_seconds = 50.0
    world.run(1_000)
    assert world.ends == [Completed(Reason.IDLE, "no byte for 50 s")]
    assert world.clock.now <= 100 + 60


def test_a_client_that_finished_sending_has_the_shorter_limit() -> None:
    world = World()
    world.watch.begun()
    world.run(5)
    world.client.ended, world.client.active_at = True, 5.0
    world.watch.half_closed()
    world.run(1_000)
    assert (world.clock.now, world.ends) == (65, [Completed(Reason.IDLE, "no byte for 60 s")])


def test_a_client_that_takes_no_byte_is_ended() -> None:
    world = World()
    world.watch.begun()
    world.run(100)
    world.client.owes, world.client.active_at, world.client.kernel = True, 100.0, 5_000
    world.watch.owes()
    world.run(1_000)
    assert world.ends == [Completed(Reason.IDLE, "the client took no byte for 20 s")]
    assert 120 <= world.clock.now <= 125


def test_bytes_that_the_kernel_delivers_are_a_sign_of_life() -> None:
    world = World()
    world.watch.begun()
    world.client.owes, world.client.kernel = True, 100_000
    world.watch.owes()
    for second in range(0, 200, 5):
        world.run(second)
        world.client.kernel -= 100
        assert world.ends == []


def test_a_response_that_the_kernel_still_delivers_puts_off_the_wait_for_the_next_request() -> None:
    world = World()
    world.watch.begun()
    world.client.kernel = 100_000
    world.watch.completed()
    for second in range(0, 200, 5):
        world.run(second)
        world.client.kernel -= 1_000
    assert world.ends == []
    world.client.kernel = 0
    world.run(1_000)
    assert world.ends == [None]


def test_the_edges_own_waits_do_not_count() -> None:
    world = World()
    world.watch.begun()
    world.client.paused = 1
    world.run(10_000)
    assert world.ends == []


def test_an_application_whose_client_left_has_five_seconds() -> None:
    world = World()
    world.watch.begun()
    world.run(100)
    world.watch.left()
    world.run(102)
    world.watch.left()
    world.run(1_000)
    assert (world.clock.now, world.ends) == (
        105, [Completed(Reason.RESET, "the client left before it had its response")],
    )  # fmt: skip


def test_work_behind_the_response_has_no_limit() -> None:
    world = World()
    world.watch.begun()
    world.watch.completed()
    world.watch.left()
    world.run(10_000)
    assert world.ends == []


def test_a_closed_watch_has_no_deadline() -> None:
    world = World()
    world.watch.close()
    assert world.clock.deadlines == {}


def test_a_fault_of_the_watch_cuts_the_session() -> None:
    world = World()
    world.watch.crashed(LookupError())
    assert world.session.cut_reason is Reason.FAULT
