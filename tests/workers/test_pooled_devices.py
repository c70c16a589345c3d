"""Devices over several workers: one table, its limits, verdicts and followers, as in one process."""

import random
from collections import Counter
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.workers import Workers, open_workers
from trioedge.testing import Client


class Panel(te.MemoryControl):
    """A control plane that follows devices, and keeps its link."""

    def __init__(self, services: dict[str, te.Policy], **more: Any) -> None:
        super().__init__(services, **more)
        self.online: Counter[tuple[str, str]] = Counter()
        self.link: te.Link | None = None

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.link = link
        await super().run(link, task_status=task_status)

    def came(self, service: str, device: str, /) -> None:
        assert not self.online[service, device], "came and went alternate"
        self.online[service, device] += 1

    def went(self, service: str, device: str, /) -> None:
        self.online[service, device] -= 1
        assert not self.online[service, device], "came and went alternate"


def compose(limit: te.DeviceLimit) -> Any:
    def make(control: te.ControlPlane | None) -> te.Edge:
        return te.Edge("tcp://127.0.0.1:0", [te.Identify(), limit], te.Forward("tcp://192.0.2.9:6379"), control=control)

    return make


async def connect(world: Workers, worker: int, source: str) -> Client:
    """Connect a client, and give the control process time to judge its device."""
    client = await world.workers[worker].world.connect(source)
    await trio.sleep(0.5)
    return client


async def test_the_limit_holds_over_all_workers(autojump_clock: trio.testing.MockClock) -> None:
    control = Panel({"default": te.Policy(device_limit=2)})
    async with open_workers(compose(te.DeviceLimit()), control) as world:
        first = await connect(world, 0, "192.0.2.1")
        await connect(world, 1, "192.0.2.2")
        third = await connect(world, 1, "192.0.2.3")
        assert third.outcome is not None
        assert third.outcome.reason is te.Reason.DEVICE
        same = await connect(world, 1, "192.0.2.1")
        assert same.outcome is None, "a device that is online in the other worker is no new one"
        assert control.link is not None
        assert [*control.link.online("default")] == ["192.0.2.1", "192.0.2.2"]
        await first.close()
        await same.close()
        await trio.sleep(2)
        assert (await connect(world, 1, "192.0.2.3")).outcome is None
        assert +control.online == Counter({("default", "192.0.2.2"): 1, ("default", "192.0.2.3"): 1})


async def test_the_oldest_device_is_cut_in_its_worker(autojump_clock: trio.testing.MockClock) -> None:
    control = Panel({"default": te.Policy(device_limit=1, device_handover=te.Handover.EVICT_OLDEST)})
    async with open_workers(compose(te.DeviceLimit()), control) as world:
        first = await connect(world, 0, "192.0.2.1")
        second = await connect(world, 1, "192.0.2.2")
        assert second.outcome is None
        assert (await first.ended()).reason is te.Reason.DEVICE
        again = await connect(world, 0, "192.0.2.1")
        assert again.outcome is not None, "it may not put out the other one for its pause"
        assert second.outcome is None


@pytest.mark.parametrize("governed", [True, False])
async def test_a_checker_is_asked_once_and_its_denial_reaches_every_worker(
    governed: bool, autojump_clock: trio.testing.MockClock
) -> None:
    asked = []

    async def check(service: str, device: str) -> te.DeviceVerdict:
        asked.append(device)
        await trio.sleep(0.2)
        return te.DeviceVerdict(device != "192.0.2.66", 100, "a bad one")

    control = Panel({"default": te.Policy()}) if governed else None
    async with open_workers(compose(te.DeviceLimit(check=check)), control) as world:
        good = [await connect(world, worker, "192.0.2.1") for worker in (0, 1)]
        bad = [await world.workers[worker].world.connect("192.0.2.66") for worker in (0, 1)]
        assert all(client.outcome is None for client in bad), "in their grace"
        await trio.sleep(1)
        assert [client.outcome is None for client in (*good, *bad)] == [True, True, False, False]
        assert asked == ["192.0.2.1", "192.0.2.66"]
        refused = await world.workers[0].world.connect("192.0.2.66")
        assert refused.outcome == te.Reject(te.Reason.DEVICE, "a bad one"), "from memory"


async def test_a_judgement_reaches_every_worker(autojump_clock: trio.testing.MockClock) -> None:
    control = Panel({"default": te.Policy()})
    async with open_workers(compose(te.DeviceLimit()), control) as world:
        clients = [await connect(world, worker, "192.0.2.1") for worker in (0, 1)]
        control.judge("default", "192.0.2.1", te.DeviceVerdict(False, 60, "sold"))
        control.judge("default", "192.0.2.2", te.DeviceVerdict(False, 60, "sold"))
        for client in clients:
            assert (await client.ended()).reason is te.Reason.DEVICE
        await trio.sleep(0.1)
        assert (await world.workers[1].world.connect("192.0.2.2")).outcome is not None, "it was never seen"
        control.judge("default", "192.0.2.2", te.DeviceVerdict(True, 60))
        await trio.sleep(0.1)
        assert (await connect(world, 1, "192.0.2.2")).outcome is None
        assert +control.online == Counter({("default", "192.0.2.2"): 1})


@pytest.mark.parametrize(("unchecked", "stays"), [("fail_open", True), ("fail_closed", False)])
async def test_without_a_control_process_devices_are_unchecked(
    unchecked: Any, stays: bool, autojump_clock: trio.testing.MockClock
) -> None:
    control = Panel({"default": te.Policy()})
    async with open_workers(compose(te.DeviceLimit(unchecked=unchecked)), control) as world:
        known = await connect(world, 0, "192.0.2.1")
        world.kill_hub()
        client = await connect(world, 0, "192.0.2.2")
        assert client.outcome is None, "in its grace"
        await trio.sleep(6)
        assert (client.outcome is None) is stays
        assert known.outcome is None
        await world.start_hub()
        await trio.sleep(15)
        assert (await connect(world, 0, "192.0.2.2")).outcome is None
        assert {device for _, device in +control.online} >= {"192.0.2.1", "192.0.2.2"}


async def test_another_control_process_learns_of_all_devices(autojump_clock: trio.testing.MockClock) -> None:
    control = Panel({"default": te.Policy(device_limit=2)})
    async with open_workers(compose(te.DeviceLimit()), control) as world:
        clients = [await connect(world, worker, f"192.0.2.{worker}") for worker in (0, 1)]
        control.online.clear()
        world.kill_hub()
        await trio.sleep(1)
        await world.start_hub()
        await trio.sleep(5)
        assert [client.outcome for client in clients] == [None, None]
        assert sorted(device for _, device in +control.online) == ["192.0.2.0", "192.0.2.1"]
        assert (await connect(world, 0, "192.0.2.9")).outcome is not None, "the limit is reached"


class Late(Panel):
    """A control plane that takes its time for the first snapshot, but in the first control process."""

    seconds = 0.0

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.sleep(self.seconds)
        self.seconds = 3
        await super().run(link, task_status=task_status)


async def test_a_control_process_that_has_no_snapshot_yet_learns_of_devices_and_totals_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = Late({"default": te.Policy(device_limit=2)})
    async with open_workers(compose(te.DeviceLimit()), control) as world:
        clients = [await connect(world, worker, f"192.0.2.{worker}") for worker in (0, 1)]
        await trio.sleep(15)
        control.online.clear()
        world.kill_hub()
        await world.start_hub()
        await trio.sleep(20)
        assert [client.outcome for client in clients] == [None, None]
        assert sorted(device for _, device in +control.online) == ["192.0.2.0", "192.0.2.1"]
        totals = control.reports[-1].services[-1]
        assert (totals.live, totals.opened) == (2, 0), "of the service that there is, and counted once"
        assert (await connect(world, 0, "192.0.2.9")).outcome is not None, "the limit is reached"


async def test_a_lower_limit_is_foreseen_and_cuts(autojump_clock: trio.testing.MockClock) -> None:
    control = Panel({"default": te.Policy(device_limit=2)})
    async with open_workers(compose(te.DeviceLimit()), control) as world:
        clients = [await connect(world, worker, f"192.0.2.{worker}") for worker in (0, 1)]
        with capture_logs() as lines:
            await control.put("default", te.Policy(device_limit=1))
            await trio.sleep(1)
        assert [client.outcome is None for client in clients] == [True, False]
        assert not [line for line in lines if line["log_level"] == "error"]


async def test_an_edge_that_ends_in_a_worker_that_lives_leaves_no_device(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = Panel({"default": te.Policy()})
    async with open_workers(compose(te.DeviceLimit()), control) as world:
        await connect(world, 0, "192.0.2.1")
        await connect(world, 1, "192.0.2.2")
        world.workers[0].serves.cancel()
        await trio.sleep(1)
        assert world.workers[0].member.connected
        assert +control.online == Counter({("default", "192.0.2.2"): 1})
        with capture_logs() as lines:
            await control.put("default", te.Policy(device_limit=5))
        assert [line["event"] for line in lines] == ["snapshot applied"]


async def test_the_devices_of_a_dead_worker_end(autojump_clock: trio.testing.MockClock) -> None:
    control = Panel({"default": te.Policy(device_limit=1)})
    async with open_workers(compose(te.DeviceLimit()), control) as world:
        await connect(world, 0, "192.0.2.1")
        world.workers[0].scope.cancel()
        await trio.sleep(3)
        assert +control.online == Counter()
        assert (await connect(world, 1, "192.0.2.2")).outcome is None


@pytest.mark.parametrize("handover", ["reject_new", "evict_oldest"])
@pytest.mark.parametrize("seed", range(6))
async def test_churn_leaves_no_ghost(handover: Any, seed: int, autojump_clock: trio.testing.MockClock) -> None:
    """Clients, connections, services and workers come and go; once all clients have left, no device is online."""
    chance = random.Random(seed)
    policy = te.Policy(device_limit=3, device_handover=te.Handover(handover))
    control = Panel({"default": policy}, check=lambda service, device: chance.random() < 0.9)
    clients: list[Client] = []
    async with open_workers(compose(te.DeviceLimit()), control, count=3) as world:
        for _ in range(150):
            match chance.choices(
                ["connect", "close", "wait", "cut", "remove", "judge", "evict"], [8, 5, 5, 1, 1, 1, 1]
            )[0]:
                case "connect":
                    worker = chance.choice(world.workers)
                    clients.append(await worker.world.connect(f"192.0.2.{chance.randrange(8)}"))
                case "close" if clients:
                    await clients.pop(chance.randrange(len(clients))).close()
                case "wait":
                    await trio.sleep(chance.choice([0.001, 0.1, 1, 3]))
                case "cut":
                    world.cut_connections()
                case "remove":
                    await control.remove("default")
                    await trio.sleep(chance.choice([0, 0.001, 0.1]))
                    await control.put("default", policy)
                case "judge":
                    control.judge(
                        "default", f"192.0.2.{chance.randrange(8)}", te.DeviceVerdict(chance.random() < 0.5, 3)
                    )
                case "evict":
                    assert control.link is not None
                    control.link.evict(service="default", device=f"192.0.2.{chance.randrange(8)}")
            total = {device for _, device in +control.online}
            assert len(total) <= 3, "the limit holds at every moment"
        await trio.sleep(5)
        live = {(each.service.name, each.device) for worker in world.workers for each in worker.edge.sessions}
        assert {*+control.online} == live, "what is online is what the workers have"
        for client in clients:
            await client.close()
        await trio.sleep(5)
        assert +control.online == Counter()
        assert control.link is not None
        assert [*control.link.online("default")] == []
