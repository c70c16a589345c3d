"""Listeners of services open, move, fail, are tried again and close, as their services change."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.listeners import ScriptedListeners
from tests.support.services import Tenants
from trioedge.loop.slices import in_slices
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import Service
from trioedge.services.snapshot import Snapshot
from trioedge.serving.listening.service_listeners import MAX_RETRY_SECONDS, ServiceListeners
from trioedge.telemetry.log import EdgeLog

BUSY = "in use by another process"


def at(*ports: int, **said: Any) -> Policy:
    return Policy(listen=tuple(f"tcp://0.0.0.0:{port}" for port in ports), **said)


class World(Tenants):
    """Services and their listeners.

    Attributes:
        listeners: open nothing, and fail as told.
        opener: under test.
        told: the names of services whose errors have changed.
    """

    def __init__(self, **taken: str) -> None:
        super().__init__()
        self.listeners = ScriptedListeners(**taken)
        self.told: list[str] = []
        self.opener = ServiceListeners(self.listeners, EdgeLog(), self.tell, lambda: 1.0)
        self.services.watch(self.opener)

    def tell(self, service: Service) -> None:
        self.told.append(service.name)

    def now(self, *removed: str, **services: Policy) -> None:
        """Apply a snapshot and settle."""
        self.apply(Snapshot({n: Settings(p) for n, p in services.items()}, frozenset(removed), full=False))
        deque(self.services.watchers.settle(), maxlen=0)

    def begin(self) -> None:
        deque(self.opener.begin(), maxlen=0)

    def errors(self, name: str) -> tuple[str, ...]:
        service = self.services.get(name)
        assert service is not None
        return service.listen_errors


@asynccontextmanager
async def working(**taken: str) -> AsyncIterator[World]:
    """Give a world whose worker runs, and that has begun."""
    world = World(**taken)
    world.begin()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.opener.run)
        yield world
        nursery.cancel_scope.cancel()


async def test_nothing_is_opened_before_the_edge_listens_and_then_all_that_is_wanted() -> None:
    world = World()
    world.now(shop=at(1, 2), cafe=at(3))
    world.now("cafe", bar=at(3), inn=at(4, enabled=False))
    assert world.listeners.holders() == {}
    assert world.opener.open == 0
    world.begin()
    assert world.listeners.holders() == {1: "shop", 2: "shop", 3: "bar"}
    assert world.opener.open == 3


async def test_each_listener_is_opened_in_a_step_of_its_own() -> None:
    world = World()
    world.now(shop=at(*range(1, 65)))
    assert sum(1 for _ in world.opener.begin()) == 64
    assert sum(1 for _ in world.opener.end()) == 64


async def test_a_port_that_moves_is_handed_over_and_neither_released_nor_closed() -> None:
    world = World()
    world.begin()
    world.now(shop=at(1))
    world.now(cafe=at(1), shop=at())
    assert world.listeners.holders() == {1: "cafe"}
    assert world.listeners.calls == ["open tcp://0.0.0.0:1 shop", "open tcp://0.0.0.0:1 cafe"]


async def test_a_port_whose_service_goes_is_released_until_another_takes_it_or_the_snapshot_ends() -> None:
    world = World()
    world.begin()
    world.now(shop=at(1, 2))
    world.apply(Snapshot({}, frozenset({"shop"}), full=False))
    assert world.listeners.holders() == {1: None, 2: None}
    world.now(cafe=at(2))
    assert world.listeners.holders() == {2: "cafe"}
    assert world.listeners.calls[-2:] == ["open tcp://0.0.0.0:2 cafe", "close tcp://0.0.0.0:1"]


async def test_a_release_that_comes_late_does_not_take_the_port_from_its_new_service() -> None:
    """Two snapshots may be applied at once: steps of two changes alternate."""
    world = World()
    world.begin()
    world.now(shop=at(1, 2))
    (change,) = world.changes(Snapshot({}, frozenset({"shop"}), full=False))
    leaving = world.services.watchers.notify(world.services.apply(change, None), change)
    next(leaving)
    world.now(cafe=at(2))
    deque(leaving, maxlen=0)
    assert world.listeners.holders() == {2: "cafe"}


async def test_a_port_in_use_is_tried_again_after_1_to_30_s_and_opened_when_it_is_free(autojump_clock: object) -> None:
    async with working(port_1=BUSY) as world:
        world.now(shop=at(1, 2))
        assert world.listeners.holders() == {2: "shop"}
        assert world.errors("shop") == (f"cannot listen on tcp://0.0.0.0:1: {BUSY}",)
        times = []
        for _ in range(8):
            tries = world.listeners.tries(1)
            began = trio.current_time()
            while world.listeners.tries(1) == tries:
                await trio.sleep(0.1)
            times.append(round(trio.current_time() - began))
        assert times == [1, 2, 4, 8, 16, 30, 30, 30]
        del world.listeners.taken["tcp://0.0.0.0:1"]
        await trio.sleep(MAX_RETRY_SECONDS + 0.1)
        assert world.listeners.holders() == {2: "shop", 1: "shop"}
        assert world.errors("shop") == ()
        assert world.told == ["shop", "shop"]
        tries = world.listeners.tries(1)
        await trio.sleep(100)
        assert world.listeners.tries(1) == tries


async def test_a_listener_that_fails_is_logged_once_and_once_more_when_it_is_open(autojump_clock: object) -> None:
    with capture_logs() as logs:
        async with working(port_1=BUSY) as world:
            world.now(shop=at(1))
            await trio.sleep(100)
            world.listeners.taken.clear()
            await trio.sleep(MAX_RETRY_SECONDS + 0.1)
    assert [(line["event"], line.get("of"), line.get("listener")) for line in logs] == [
        ("listener not open, and tried again", "shop", None),
        ("listener is open after all", None, "tcp://0.0.0.0:1"),
    ]
    assert logs[0]["error"] == f"cannot listen on tcp://0.0.0.0:1: {BUSY}"
    assert logs[0]["log_level"] == "warning"


async def test_listeners_that_fail_at_different_times_are_each_tried_at_their_own(autojump_clock: object) -> None:
    async with working(port_1=BUSY, port_2=BUSY) as world:
        world.now(shop=at(1))
        await trio.sleep(20)  # its next try is at 31 s
        world.now(cafe=at(2))
        tries = world.listeners.tries(1)
        await trio.sleep(1.5)
        assert (world.listeners.tries(1), world.listeners.tries(2)) == (tries, 2)
        await trio.sleep(11)
        assert world.listeners.tries(1) == tries + 1


@pytest.mark.parametrize("name", ["shop", "cafe"])
async def test_a_listener_that_fails_is_open_once_one_in_its_way_is_closed_by_the_same_snapshot(name: str) -> None:
    def listens(host: str) -> Policy:
        return Policy(listen=(f"tcp://{host}:1",))

    world = World()
    world.begin()
    world.now(shop=listens("127.0.0.1"))
    for host in ("0.0.0.0", "127.0.0.1"):
        services = {"shop": Policy(), name: listens(host)}
        world.now(**services)
        assert [str(each) for each in world.listeners.services] == [f"tcp://{host}:1"]
        assert world.errors(name) == ()
        assert (world.opener.open, [*world.opener.errors]) == (1, [])


async def test_a_failing_port_that_moves_fails_for_its_new_service(autojump_clock: object) -> None:
    async with working(port_1=BUSY) as world:
        world.now(shop=at(1))
        world.now(cafe=at(1), shop=at())
        assert (world.errors("shop"), len(world.errors("cafe"))) == ((), 1)
        assert world.told == ["shop", "shop", "cafe"] or world.told == ["shop", "cafe", "shop"]
        world.listeners.taken.clear()
        await trio.sleep(MAX_RETRY_SECONDS)
        assert world.listeners.holders() == {1: "cafe"}
        assert world.errors("cafe") == ()


@pytest.mark.parametrize("how", ["removed", "disabled", "listens elsewhere"])
async def test_a_failing_port_that_is_not_wanted_any_more_is_not_tried_again(how: str, autojump_clock: object) -> None:
    async with working(port_1=BUSY) as world:
        world.now(shop=at(1))
        if how == "removed":
            world.now("shop")
        else:
            world.now(shop=at(1, enabled=False) if how == "disabled" else at(2))
            assert world.errors("shop") == ()
        assert not world.opener.errors
        tries = world.listeners.tries(1)
        await trio.sleep(100)
        assert world.listeners.tries(1) == tries


async def test_the_state_counts_what_is_open_and_names_what_is_not() -> None:
    world = World(**{f"port_{port}": BUSY for port in range(1, 203)})
    world.begin()
    world.now(**{f"s{port}": at(port) for port in range(1, 213)})
    assert world.opener.open == 10
    errors = [*world.opener.errors]
    assert (len(errors), errors[-1]) == (101, "and 102 more")
    assert errors[0] == f"cannot listen on tcp://0.0.0.0:1: {BUSY}"


async def test_at_the_end_all_are_closed_and_none_is_opened_any_more(autojump_clock: object) -> None:
    async with working(port_3=BUSY) as world:
        world.now(shop=at(1, 3))
        world.apply(Snapshot({"shop": Settings(at(3))}, full=False))  # and 1 is released, not closed yet
        await in_slices(world.opener.end())
        assert world.listeners.holders() == {}
        assert (world.opener.open, [*world.opener.errors]) == (0, [])
        calls = [*world.listeners.calls]
        world.apply(Snapshot({"cafe": Settings(at(4))}, full=False))
        await trio.sleep(100)
        assert world.listeners.calls == calls


async def test_a_cancel_of_the_worker_ends_it_wherever_it_is(autojump_clock: object) -> None:
    async def work() -> None:
        async with working(port_1=BUSY) as world:
            world.now(shop=at(1))
            await trio.sleep(5)

    await work()
    before = left_open()

    def check() -> None:
        assert left_open() == before

    assert await cancel_at_every_step(work, check) > 5
