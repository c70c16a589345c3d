"""Services that follow those of another process."""

from collections.abc import Mapping

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.support.services import Governed
from trioedge.services.applying.following import Given
from trioedge.services.policy import Policy, Settings
from trioedge.session.verdict import Reason

ONE, OTHER = Settings(Policy(max_sessions=1)), Settings(Policy(max_sessions=2))


def there(world: Governed) -> Mapping[str, tuple[Settings, int]]:
    return {each.name: (each.settings, each.incarnation) for each in world.services}


@pytest.mark.parametrize(
    ("given", "expected", "same"),
    [
        (Given("shop", ONE, 7), {"shop": (ONE, 5)}, True),
        (Given("shop", OTHER, 7), {"shop": (OTHER, 5)}, True),
        (Given("shop", ONE, 7, replaced=True), {"shop": (ONE, 7)}, False),
        (Given("shop"), {}, False),
        (Given("cafe", OTHER, 8), {"shop": (ONE, 5), "cafe": (OTHER, 8)}, True),
        (Given("cafe"), {"shop": (ONE, 5)}, True),
        (Given("cafe", OTHER, 8, replaced=True), {"shop": (ONE, 5), "cafe": (OTHER, 8)}, True),
    ],
)
async def test_a_service_is_added_changed_replaced_or_removed(
    given: Given, expected: Mapping[str, tuple[Settings, int]], same: bool
) -> None:
    world = Governed()
    await world.applier.follow([Given("shop", ONE, 5)])
    before = world.services.get("shop")
    session = world.carried("shop")
    await world.applier.follow([given])
    assert there(world) == expected
    assert (world.services.get("shop") is before) is same
    assert session.cut_reason is (None if same else Reason.EVICTED)


async def test_the_version_is_told_once_all_is_there() -> None:
    world = Governed()
    counted: list[str] = []
    world.applier.on_applied.append(lambda: counted.append(world.applier.version))
    plan = await world.applier.follow([Given("shop", ONE, 5), Given("cafe", OTHER, 6)])
    assert (plan.added, counted) == (("shop", "cafe"), [])
    await world.applier.followed("two")
    assert counted == ["two"]


names = st.sampled_from(["a", "b", "c"])
states = st.builds(Given, names, st.none() | st.sampled_from([ONE, OTHER]), st.integers(100, 200), st.booleans())


@given(st.lists(states, max_size=12))
def test_the_services_are_those_given_last(rows: list[Given]) -> None:
    async def follow() -> None:
        world = Governed()
        await world.applier.follow(rows)
        last = {row.name: row.settings for row in rows}
        assert {each.name: each.settings for each in world.services} == {
            name: settings for name, settings in last.items() if settings is not None
        }

    trio.run(follow)
