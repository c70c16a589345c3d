"""Keys of users' stages in snapshots that programs apply."""

import pytest

from tests.support.policies import STAGE_KEYS, DailyQuota, Hours
from tests.support.services import Governed, cut_reasons
from trioedge.services.control_plane import SnapshotError
from trioedge.services.snapshot import Plan
from trioedge.services.stage_keys import NO_KEYS
from trioedge.session.verdict import Reason


def make_world() -> Governed:
    return Governed("enabled", stage_keys=STAGE_KEYS)


async def test_keys_of_stages_are_applied_and_a_change_names_each() -> None:
    world = make_world()
    assert await world.let("shop", stages=(Hours(8, 18),)) == Plan(added=("shop",))
    assert await world.let("shop", stages=(Hours(8, 18),)) == Plan()
    plan = await world.let("shop", stages=(Hours(9, 18), DailyQuota(3)))
    assert plan == Plan(changed={"shop": ("hours.since", "daily_quota.per_day")})
    service = world.services.get("shop")
    assert service is not None
    assert service.policy[Hours].since == 9


async def test_a_key_whose_fate_is_evict_cuts_live_sessions_and_one_whose_fate_is_keep_does_not() -> None:
    world = make_world()
    await world.let("shop", stages=(Hours(8),))
    session = world.carried("shop")
    assert (await world.let("shop", stages=(Hours(9),))).evicted == 0
    assert cut_reasons(session) == [None]
    assert (await world.let("shop", stages=(Hours(9), DailyQuota(3)))).evicted == 1
    assert cut_reasons(session) == [Reason.EVICTED]


@pytest.mark.parametrize("before", [(), (Hours(),)])
async def test_keys_that_no_stage_reads_are_refused(before: tuple[object, ...]) -> None:
    world = make_world()
    await world.let("shop", stages=before)
    for stages in ((*before, DailyQuota(), DailyQuota()), (*before, 3), (Hours(until="8"),)):  # type: ignore[arg-type]
        with pytest.raises(SnapshotError, match=r"^services\.shop\.(stages|hours\.until)"):
            await world.let("shop", stages=stages)
    world = Governed("enabled", stage_keys=NO_KEYS)
    with pytest.raises(
        SnapshotError,
        match="no stage of this edge has policy = Hours; stages name: none",
    ):
        await world.let("shop", stages=(Hours(),))


def test_the_link_of_an_edge_has_the_keys_that_text_is_read_with() -> None:
    assert make_world().applier.stage_keys is STAGE_KEYS
