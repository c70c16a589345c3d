"""The control plane of an edge in a worker: it can what the real one can, and answers for devices."""

from typing import Any

import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.cancels import cancel_at_every_step
from tests.support.workers import open_workers
from trioedge.edge import rehearse
from trioedge.services.control_plane import AsksForUsers
from trioedge.services.linking.device_pool import PoolsDevices
from trioedge.serving.part import Part
from trioedge.testing.upstream import ScriptedUpstream
from trioedge.workers.follower import LEFT
from trioedge.workers.member import HubMember


class Plain:
    """A control plane that can nothing but name services."""

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await link.apply(te.Snapshot({"default": te.Settings()}))
        task_status.started()
        await trio.sleep_forever()


class Able(te.MemoryControl):
    """A control plane that can all."""

    def reload(self) -> None: ...

    def service_of(self, user: str, /) -> str | None: ...

    def came(self, service: str, device: str, /) -> None: ...

    def went(self, service: str, device: str, /) -> None: ...


ABILITIES = (
    te.ChecksDevices,
    te.TakesReports,
    te.FollowsDevices,
    te.NamesUsers,
    AsksForUsers,
    te.Reloads,
    PoolsDevices,
)


def describe(control: te.ControlPlane | None, *stages: object) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)


def stand_in(edge: te.Edge) -> Any:
    return HubMember({"edge": edge}, "", bytes(32), number=0, column=0, generation=0).control("edge")


@pytest.mark.parametrize(
    ("control", "limited", "abilities"),
    [
        (Plain(), False, ()),
        (Plain(), True, (te.ChecksDevices, te.FollowsDevices, PoolsDevices)),
        (None, True, (te.ChecksDevices, te.FollowsDevices, PoolsDevices)),
        (Able(), False, (te.TakesReports, te.NamesUsers, AsksForUsers, te.Reloads)),
        (Able(), True, ABILITIES),
    ],
)
def test_it_has_exactly_the_abilities_that_the_edge_needs(
    control: te.ControlPlane | None, limited: bool, abilities: tuple[type, ...]
) -> None:
    there = stand_in(describe(control, *[te.DeviceLimit(2)] if limited else []))
    assert {each for each in ABILITIES if isinstance(there, each)} == {*abilities}
    if limited:
        assert there.pools_devices is isinstance(control, te.ChecksDevices)


async def test_an_edge_without_a_control_plane_serves_before_there_is_a_control_process(
    autojump_clock: trio.testing.MockClock,
) -> None:
    edge = describe(None, te.Identify(lambda _: "anything"), te.DeviceLimit(1))
    upstream = ScriptedUpstream()
    part = Part(number=0, count=2, column=0, columns=8, control=stand_in(edge))
    async with trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[te.Edge]) -> None:
            await rehearse(edge, upstream, part=part, task_status=task_status)

        await nursery.start(serve)
        assert edge.phase.value == "serving"
        nursery.cancel_scope.cancel()


async def test_services_named_at_first_use_stay_local_and_their_devices_are_pooled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def make(control: te.ControlPlane | None) -> te.Edge:
        return describe(control, te.Identify(lambda session: f"of-{session.source[-1]}"), te.DeviceLimit(1, key=odd))

    async with open_workers(make) as world:
        first = await world.workers[0].world.connect("192.0.2.1")
        await trio.sleep(1)
        same = await world.workers[1].world.connect("198.51.100.1")
        await trio.sleep(1)
        assert (first.outcome, same.outcome is None) == (None, False), "the same service, and another device"
        other = await world.workers[1].world.connect("192.0.2.2")
        await trio.sleep(1)
        assert other.outcome is None
        assert {*world.workers[0].edge.services} == {"default", "of-1"}


def odd(session: te.Session) -> str:
    return session.source.partition(".")[0]


async def test_a_cancel_of_its_run_at_any_step_leaves_an_edge_that_can_run_it_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_workers(describe, Able({"default": te.Policy()})) as world:
        worker = world.workers[0]
        there: Any = worker.part.control
        link = there._link

        async def act() -> None:
            with trio.move_on_after(3):
                await there.run(link)

        worker.scope.cancel()
        await worker.ended.wait()
        async with trio.open_nursery() as nursery:

            async def answer(*_: Any) -> object:
                return None

            await nursery.start(worker.member.run, answer)
            steps = await cancel_at_every_step(act, lambda: None)
            assert steps > 3
            assert there._link is None
            assert await there.take("begin", None, None) == LEFT
            nursery.cancel_scope.cancel()
