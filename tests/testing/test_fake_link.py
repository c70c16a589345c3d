"""The fake link keeps what a control plane tells it, and answers as an edge does."""

import pytest
import trio

import trioedge as te
from trioedge.testing import FakeLink

NO = te.DeviceVerdict(False)


async def test_snapshots_are_applied_to_a_dict_or_refused() -> None:
    link = FakeLink()
    shop, cafe = te.Settings(te.Policy(device_limit=2)), te.Settings()
    assert await link.apply(te.Snapshot({"shop": shop, "cafe": cafe})) == te.Plan(added=("shop", "cafe"))
    assert (await link.apply(te.Snapshot({}, frozenset({"cafe"}), full=False))).removed == ("cafe",)
    assert link.services == {"shop": shop}
    link.refuses = ("not today",)
    with pytest.raises(te.SnapshotError, match="not today"):
        await link.apply(te.Snapshot({}))
    assert link.services == {"shop": shop}
    assert len(link.snapshots) == 3


async def test_a_control_plane_in_memory_is_run_for_it(autojump_clock: trio.testing.MockClock) -> None:
    link, control = FakeLink(), te.MemoryControl({"shop": te.Policy()})
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, link)
        assert list(link.services) == ["shop"]
        control.judge("shop", "192.0.2.1", False)
        nursery.cancel_scope.cancel()
    assert link.verdicts == [("shop", "192.0.2.1", te.DeviceVerdict(False))]


def test_judgements_and_evictions_are_kept_and_take_devices_away() -> None:
    link = FakeLink()
    link.devices = {"shop": ["x", "y", "z"]}
    link.judge("shop", "x", NO)
    link.judge("shop", "y", te.DeviceVerdict(True))
    assert [device for _, device, _ in link.verdicts] == ["x", "y"]
    assert link.online("shop") == ("y", "z")
    assert link.evict(service="shop", device="y") == 1
    assert link.evict(service="shop") == 1
    assert link.evict(source="192.0.2.1") == 0
    assert link.evictions == [("shop", None, "y"), ("shop", None, None), (None, "192.0.2.1", None)]
    assert (link.online("shop"), link.online("cafe")) == ((), ())
    with pytest.raises(te.ConfigurationError):
        link.judge("shop", "x", True)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        link.evict()


async def test_rules_are_those_of_the_policy() -> None:
    link = FakeLink()
    await link.apply(te.Snapshot({"shop": te.Settings(te.Policy(device_limit=2, device_handover=te.Handover.HOLD))}))
    assert link.rules("shop") == te.DeviceRules(2, te.Handover.HOLD)
    assert link.rules("cafe") == te.DeviceRules()


async def test_until_waits_for_calls_and_not_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    link = FakeLink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.until, lambda link: link.errors == ["down"] and link.reaches)
        await trio.sleep(1)
        link.failed("down")
        link.reached()
    with pytest.raises(trio.TooSlowError):
        await link.until(lambda link: link.reaches == 2)
