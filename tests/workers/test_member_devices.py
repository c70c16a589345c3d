"""The devices of a worker: which the control process is told of, and its verdicts."""

from typing import Any

import pytest
import trio
import trio.testing

from tests.support.cancels import cancel_at_every_step
from tests.support.services import Governed
from trioedge.services.control_plane import DeviceGoneError, DeviceVerdict
from trioedge.services.service import Service
from trioedge.workers.member_devices import DEVICES_PER_MESSAGE, MemberDevices
from trioedge.workers.messages.frames import ChannelError


class Told:
    """A channel that keeps messages, and ends when the test says so."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []
        self.broken = False

    async def tell(self, topic: str, body: Any) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise ChannelError("the peer has hung up")
        self.messages.append((topic, body[1]))

    @property
    def rows(self) -> list[tuple[str, str, bool, bool]]:
        return [row for topic, rows in self.messages if topic == "devices" for row in rows]


class Judge:
    """A device limit that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, object]] = []

    def judge(self, service: Service, device: str, verdict: DeviceVerdict) -> None:
        self.told.append((service.name, device, verdict.accept))

    def refuse(self, service: Service, device: str, seconds: float, detail: str) -> None:
        self.told.append((service.name, device, detail))

    def rules(self, service: Service | None) -> Any: ...

    def online(self, service: Service) -> Any: ...


async def told_of(devices: MemberDevices, channel: Told) -> None:
    """Let it tell all that is due."""
    with trio.move_on_after(0.1):
        await devices.tell(channel)  # type: ignore[arg-type]


async def test_states_are_told_once_and_all_again_over_another_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    devices, channel, later = MemberDevices("edge"), Told(), Told()
    for _ in range(3):
        devices.came("shop", "a")
        devices.went("shop", "a")
    devices.came("shop", "b")
    await told_of(devices, channel)
    assert channel.rows == [("shop", "a", False, False), ("shop", "b", True, False)]
    assert channel.messages[-1] == ("devices told", None)
    await told_of(devices, later)
    assert later.rows == [("shop", "b", True, False)]


async def test_a_device_of_a_service_that_was_named_again_stays_online(autojump_clock: trio.testing.MockClock) -> None:
    devices, channel = MemberDevices("edge"), Told()
    devices.came("shop", "a")
    devices.came("shop", "a")  # of the new one, before the old one is forgotten
    devices.went("shop", "a")
    await told_of(devices, channel)
    assert channel.rows == [("shop", "a", True, False)]


async def test_many_devices_are_told_in_parts(autojump_clock: trio.testing.MockClock) -> None:
    devices, channel = MemberDevices("edge"), Told()
    count = 2 * DEVICES_PER_MESSAGE + 1
    for number in range(count):
        devices.came("shop", str(number))
    await told_of(devices, channel)
    assert [len(rows) for topic, rows in channel.messages if topic == "devices"] == [128, 128, 1]
    assert len(channel.rows) == count


async def test_the_end_of_the_channel_is_an_error_and_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    devices, channel = MemberDevices("edge"), Told()
    channel.broken = True
    devices.came("shop", "a")
    with pytest.raises(ChannelError):
        await devices.tell(channel)  # type: ignore[arg-type]
    channel.broken = False
    await told_of(devices, channel)
    assert channel.rows == [("shop", "a", True, False)]


async def test_a_check_asks_and_waits_for_the_next_verdict(autojump_clock: trio.testing.MockClock) -> None:
    world, judge, devices, channel = Governed(), Judge(), MemberDevices("edge"), Told()
    await world.let("shop")
    world.services.device_judge = judge
    answers: list[DeviceVerdict] = []
    async with trio.open_nursery() as nursery:

        async def check() -> None:
            answers.append(await devices.check("shop", "a"))

        for _ in range(2):
            nursery.start_soon(check)
        await trio.testing.wait_all_tasks_blocked()
        await told_of(devices, channel)
        assert channel.rows == [("shop", "a", False, True)]
        devices.judge(world.link, [("shop", "other", "accept", 5.0, "")])
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        devices.judge(world.link, [("shop", "a", "deny", 5.0, "why"), ("gone", "a", "deny", 5.0, "")])
    assert answers == [DeviceVerdict(False, 5.0, "why")] * 2
    assert judge.told == [("shop", "other", True), ("shop", "a", False)]


async def test_a_refusal_is_no_verdict_of_the_checker(autojump_clock: trio.testing.MockClock) -> None:
    world, judge, devices = Governed(), Judge(), MemberDevices("edge")
    await world.let("shop")
    world.services.device_judge = judge
    devices.judge(world.link, [("shop", "a", "refuse", 1.0, "no place")])
    assert judge.told == [("shop", "a", "no place")]


async def test_a_device_that_went_before_it_was_known_is_unknown_and_not_refused() -> None:
    world, judge, devices = Governed(), Judge(), MemberDevices("edge")
    await world.let("shop")
    world.services.device_judge = judge
    unknown = ("shop", "a", "unknown", 0.0, "not checked yet")
    async with trio.open_nursery() as nursery:

        async def check() -> None:
            with pytest.raises(DeviceGoneError):
                await devices.check("shop", "a")

        nursery.start_soon(check)
        await trio.testing.wait_all_tasks_blocked()
        devices.came("shop", "a")
        devices.judge(world.link, [unknown])
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks, "it is online again, so its verdict is on its way"
        devices.went("shop", "a")
        devices.judge(world.link, [unknown])
    assert judge.told == []


async def test_a_check_that_is_cancelled_leaves_no_question() -> None:
    devices = MemberDevices("edge")

    async def act() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(devices.check, "shop", "a")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    await cancel_at_every_step(act, lambda: None)
    assert devices._questions == {}
