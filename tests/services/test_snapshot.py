"""Changes and their fates, and watchers."""

from typing import Any

import pytest

from tests.support.policies import DailyQuota, Hours
from tests.support.services import Tenants
from trioedge.errors import ConfigurationError
from trioedge.services.policy import FATES, Fate, Policy, Settings
from trioedge.services.service import Service
from trioedge.services.snapshot import Change, Foreseeing, Plan, Settling, Snapshot
from trioedge.session.session import Session


def test_a_snapshot_is_full_and_has_no_version_by_default() -> None:
    assert Snapshot({}) == Snapshot({}, removed=frozenset(), full=True, version="")


@pytest.mark.parametrize("field", FATES)
def test_the_fates_of_a_change_are_those_of_its_fields(field: str) -> None:
    assert Change("a", Settings(), Settings(), (field,)).fates == {FATES[field]}
    assert Change("a", Settings(), Settings(), (field, "enabled")).fates == {FATES[field], Fate.EVICT}


@pytest.mark.parametrize(("before", "after"), [((Hours(),), ()), ((), (Hours(),)), ((Hours(),), (Hours(),))])
def test_the_fate_of_a_key_of_a_stage_is_read_from_either_side(
    before: tuple[object, ...], after: tuple[object, ...]
) -> None:
    change = Change("a", Settings(Policy(stages=before)), Settings(Policy(stages=after)), ("hours.until",))
    assert change.fates == {Fate.RECHECK}


def test_the_fates_of_several_keys_are_all_there() -> None:
    before, after = Settings(Policy(stages=(Hours(), DailyQuota(1)))), Settings()
    fields = ("hours.since", "hours.until", "daily_quota.per_day")
    assert Change("a", before, after, fields).fates == {Fate.KEEP, Fate.RECHECK, Fate.EVICT}


def test_a_removed_service_has_its_sessions_evicted_and_a_new_one_has_none() -> None:
    assert Change("a", Settings(), None).fates == {Fate.EVICT}
    assert Change("a", None, Settings()).fates == frozenset()


class Silent:
    """A watcher that only follows changes."""

    def changed(self, service: Service, change: Change) -> None:
        """Do nothing."""


class Thorough(Silent):
    """A watcher that does all that one may do, in steps."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.settled = 0

    def foresee(self, service: Service, after: Settings | None) -> list[Session | None]:
        return [None, self.session, None]

    def settle(self) -> list[None]:
        self.settled += 1
        return [None, None]


def test_foresight_and_tidying_up_are_asked_only_of_the_watchers_that_have_them() -> None:
    tenants = Tenants()
    service = tenants.put("a")
    thorough = Thorough(tenants.come("a"))
    assert isinstance(thorough, Foreseeing)
    assert isinstance(thorough, Settling)
    assert not isinstance(Silent(), (Foreseeing, Settling))
    tenants.services.watch(Silent())
    assert list(tenants.services.watchers.foresee(service, None)) == []
    assert list(tenants.services.watchers.settle()) == []
    tenants.services.watch(thorough)
    assert list(tenants.services.watchers.foresee(service, None)) == [None, thorough.session, None]
    assert list(tenants.services.watchers.settle()) == [None, None]
    assert thorough.settled == 1


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (Plan(), "changes nothing"),
        (Plan(added=("a",)), "adds 1 service; touches no session"),
        (Plan(removed=("a", "b"), evicted=1), "removes 2 services; evicts 1 session"),
        (
            Plan(changed={"a": ("down_rate",), "b": ("reject",)}, retuned=812, evicted=3),
            "changes 2 services; retunes 812 sessions, evicts 3 sessions",
        ),
        (
            Plan(added=("a",), changed={"b": ("device_limit",)}, removed=("c",), rechecked=2, evicted=3),
            "adds 1 service, changes 1 service, removes 1 service; rechecks 2 sessions, evicts 3 sessions",
        ),
    ],
)
def test_a_plan_is_described_in_one_line(plan: Plan, text: str) -> None:
    assert str(plan) == text
    assert bool(plan) is (text != "changes nothing")


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"services": 5}, "services=5) must be settings by name, as in {'shop': Settings()}"),
        ({"removed": "a"}, "removed='a') must be a set of names, as in frozenset({'shop'})"),
        ({"removed": None}, "removed=None) must be a set of names, as in frozenset({'shop'})"),
        ({"full": "no"}, "full='no') must be true or false"),
        ({"version": 7}, "version=7) must be text"),
    ],
)
def test_a_snapshot_of_other_types_is_refused(said: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Snapshot(**({"services": {}} | said))
    assert str(refusal.value) == f"Snapshot({fault}"
