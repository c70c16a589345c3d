"""The share of a worker, and the one table, alone."""

import attrs
import pytest

import trioedge as te
from tests.support.governed import Governed
from trioedge.services.control_plane import DeviceVerdict
from trioedge.services.device_rules import DeviceRules
from trioedge.session.verdict import CONTINUE, Reason, Reject
from trioedge.stages.devices.pool import DevicePool, SharedDeviceLimit


async def never(service: str, device: str) -> DeviceVerdict:
    raise AssertionError("it is asked in a task, and none runs")


def share(world: Governed, limit: te.DeviceLimit) -> SharedDeviceLimit:
    return SharedDeviceLimit(limit, world.context, never)


def test_a_share_limits_no_number_because_the_pool_does() -> None:
    world = Governed()
    limit = share(world, te.DeviceLimit(1))
    world.put(device_limit=1)
    sessions = [world.session("shop", source=f"192.0.2.{number}") for number in range(5)]
    assert {limit.decide(each) for each in sessions} == {CONTINUE}
    assert limit.rules(world.services.get("shop")).limit is None


def test_a_share_keeps_every_other_rule() -> None:
    world = Governed()
    limit = share(world, te.DeviceLimit(1, unchecked="fail_open"))
    service = world.put(device_limit=3, device_unchecked="fail_closed", device_stale_seconds=7)
    assert limit.rules(service) == attrs.evolve(
        DeviceRules(), limit=None, unchecked=te.Unchecked.FAIL_CLOSED, stale_seconds=7
    )


async def test_a_refused_device_is_cut_and_refused_for_its_time_and_unknown_then() -> None:
    world = Governed()
    limit = share(world, te.DeviceLimit(1))
    service = world.put()
    first = world.session("shop", source="192.0.2.1")
    assert limit.decide(first) is CONTINUE
    limit.refuse(service, "192.0.2.1", 1, "no place")
    limit.answered(service, "192.0.2.1", DeviceVerdict(True))  # the check returns with the refusal, and is dropped
    assert first.cut_reason is Reason.DEVICE
    assert limit.decide(world.session("shop", source="192.0.2.1")) == Reject(Reason.DEVICE, "no place")
    world.clock.now = 1.5
    again = world.session("shop", source="192.0.2.1")
    assert limit.decide(again) is CONTINUE
    assert again.allowance is not None, "in a grace of its own, until the pool has judged it"


def test_a_changed_limit_asks_about_no_device_again() -> None:
    world = Governed()
    limit = share(world, te.DeviceLimit(2))
    service = world.put(device_limit=2)
    session = world.session("shop", source="192.0.2.1")
    limit.decide(session)
    limit.judge(service, "192.0.2.1", DeviceVerdict(True, 100))
    world.put(device_limit=1)
    assert limit.decide(world.session("shop", source="192.0.2.1")) is CONTINUE
    assert session.cut_reason is None


@pytest.mark.parametrize("accept", [True, False])
async def test_the_pool_tells_of_verdicts_and_of_judgements(accept: bool) -> None:
    world = Governed()
    changed: list[str] = []
    judged: list[str] = []
    service = world.put()
    pool = DevicePool(
        te.DeviceLimit(1, key=lambda _: "never asked"), world.context, never,
        lambda _, device: changed.append(device), lambda _, device: judged.append(device),
    )  # fmt: skip
    session = world.session("shop", source="192.0.2.1")
    session.device = "mine"
    assert pool.decide(session) is CONTINUE
    pool.answered(service, "mine", DeviceVerdict(accept, 100))
    assert (changed, judged) == (["mine"], [])
    assert pool.standing(service, "mine").accepts is accept
    pool.judge(service, "other", DeviceVerdict(accept, 100))
    assert (changed, judged) == (["mine", "other"], ["other"])
