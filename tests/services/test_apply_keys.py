"""Keys of users' stages in snapshots that programs apply."""

import pytest

from tests.strategies import make_session
from tests.support.policies import STAGE_KEYS, DailyQuota, Hours
from trioedge.services.apply import SnapshotApplier
from trioedge.services.control_plane import SnapshotError
from trioedge.services.plan import Plan
from trioedge.services.policy import Policy, Settings
from trioedge.services.registry import Registry
from trioedge.services.services import Services, Snapshot
from trioedge.services.stage_keys import NO_KEYS, StageKeys
from trioedge.session.meter import Total
from trioedge.telemetry.observer import Observer


class World:
    """Services and sessions without an edge."""

    def __init__(self, stage_keys: StageKeys = STAGE_KEYS) -> None:
        self.services = Services(Total(), Total(), governed=True)
        self.registry = Registry(self.services)
        self.applier = SnapshotApplier(
            self.services, self.registry, Observer(), enforced=(), stage_keys=stage_keys
        )  # fmt: skip

    async def put(self, *stages: object) -> Plan:
        """Apply a snapshot in which service ``shop`` has these keys."""
        return await self.applier.apply(Snapshot({"shop": Settings(Policy(stages=stages))}, full=False))


async def test_keys_of_stages_are_applied_and_a_change_names_each() -> None:
    world = World()
    assert await world.put(Hours(8, 18)) == Plan(added=("shop",))
    assert await world.put(Hours(8, 18)) == Plan()
    plan = await world.put(Hours(9, 18), DailyQuota(3))
    assert plan == Plan(changed={"shop": ("hours.since", "daily_quota.per_day")})
    service = world.services.find("shop")
    assert service is not None
    assert service.policy[Hours].since == 9


async def test_a_key_whose_fate_is_evict_cuts_live_sessions_and_one_whose_fate_is_keep_does_not() -> None:
    world = World()
    await world.put(Hours(8))
    world.registry.add(make_session(service="shop"))
    assert (await world.put(Hours(9))).evicted == 0
    assert (await world.put(Hours(9), DailyQuota(3))).evicted == 1


@pytest.mark.parametrize("before", [(), (Hours(),)])
async def test_keys_that_no_stage_reads_are_refused(before: tuple[object, ...]) -> None:
    world = World()
    await world.put(*before)
    for stages in ((*before, DailyQuota(), DailyQuota()), (*before, 3), (Hours(until="8"),)):  # type: ignore[arg-type]
        with pytest.raises(SnapshotError, match=r"^services\.shop\.(stages|hours\.until)"):
            await world.put(*stages)
    world = World(NO_KEYS)
    with pytest.raises(SnapshotError, match="no stage of this edge reads Hours; stages name: none"):
        await world.put(Hours())


def test_the_link_of_an_edge_has_the_keys_that_text_is_read_with() -> None:
    assert World().applier.stage_keys is STAGE_KEYS
