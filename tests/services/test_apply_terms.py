"""Quotas and expiries in snapshots: what a plan foresees, and what is cut and admitted."""

from typing import Any

import pytest

from tests.support.services import Governed, cut_reasons
from trioedge.services.control_plane import SnapshotError
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import EXPIRED, USED_UP
from trioedge.services.snapshot import Plan, Snapshot
from trioedge.services.terms.terms import Terms
from trioedge.session.verdict import Reason, Reject

NOW = 1_800_000_000.0


def world() -> Governed:
    return Governed(terms=Terms(lambda: NOW))


def shop(**policy: Any) -> Snapshot:
    return Snapshot({"a": Settings(Policy(**policy))}, full=False)


CUTS = [
    ({"quota_bytes": 40}, ("quota_bytes",), USED_UP),
    ({"quota_bytes": 1_000, "quota_used": 1_000}, ("quota_used",), USED_UP),
    ({"quota_bytes": 1_000, "expires_at": NOW}, ("expires_at",), EXPIRED),
    ({"quota_bytes": 1, "expires_at": NOW - 5, "down_rate": 5}, ("down_rate", "quota_bytes", "expires_at"), EXPIRED),
]


@pytest.mark.parametrize(("policy", "fields", "over"), CUTS)
async def test_a_change_that_a_service_has_exceeded_cuts_its_sessions_at_once_as_its_plan_says(
    policy: dict[str, Any], fields: tuple[str, ...], over: Reject
) -> None:
    tenants = world()
    await tenants.let(quota_bytes=1_000)
    await tenants.let("b")
    sessions, other = [tenants.carried() for _ in range(3)], tenants.carried("b")
    service = tenants.services.get("a")
    assert service is not None
    service.down.add(50)
    expected = Plan(changed={"a": fields}, evicted=3)
    assert await tenants.applier.plan(shop(**policy)) == expected
    assert (cut_reasons(*sessions), service.refusal, service.quota_used) == ([None] * 3, None, 50)
    assert await tenants.applier.apply(shop(**policy)) == expected
    assert service.refusal is over
    assert cut_reasons(*sessions, other) == [over.reason] * 3 + [None]
    assert {session.outcome.detail for session in sessions if session.outcome} == {over.detail}


@pytest.mark.parametrize(
    "policy",
    [{"quota_bytes": 51}, {"quota_bytes": 1_000, "quota_used": 949}, {"expires_at": NOW + 1}, {"quota_bytes": 2_000}],
)
async def test_a_change_that_a_service_has_not_exceeded_leaves_its_sessions(policy: dict[str, Any]) -> None:
    tenants = world()
    await tenants.let(quota_bytes=1_000)
    session = tenants.carried()
    service = tenants.services.get("a")
    assert service is not None
    service.down.add(50)
    assert (await tenants.applier.plan(shop(**policy))).evicted == 0
    assert (await tenants.applier.apply(shop(**policy))).evicted == 0
    assert (cut_reasons(session), service.refusal) == ([None], None)


async def test_a_raised_quota_or_expiry_admits_at_once() -> None:
    tenants = world()
    for before, after in (
        ({"quota_bytes": 5, "quota_used": 5}, {"quota_bytes": 6, "quota_used": 5}),
        ({"quota_bytes": 5, "quota_used": 5}, {"quota_bytes": 5, "quota_used": 0}),
        ({"expires_at": NOW}, {"expires_at": NOW + 1}),
        ({"expires_at": NOW}, {}),
    ):
        await tenants.let(**before)
        assert isinstance(tenants.services.find("a"), Reject)
        await tenants.let(**after)
        tenants.carried()
        await tenants.applier.apply(Snapshot({}, frozenset({"a"}), full=False))


async def test_a_change_of_another_field_of_a_service_that_is_over_cuts_with_the_reason_of_its_own() -> None:
    tenants = world()
    await tenants.let(quota_bytes=1_000)
    session = tenants.carried(source="192.0.2.1")
    assert (await tenants.let(quota_bytes=1_000, reject=("192.0.2.1",))).evicted == 1
    assert cut_reasons(session) == [Reason.SOURCE]


async def test_terms_that_are_wrong_are_faults_of_the_snapshot_and_change_nothing() -> None:
    tenants = world()
    await tenants.let(quota_bytes=1_000)
    with pytest.raises(SnapshotError) as raised:
        await tenants.let(quota_bytes=0, quota_used=-1, expires_at=1e13)
    assert [fault.split(" = ")[0] for fault in raised.value.faults] == [
        "services.a.quota_bytes",
        "services.a.quota_used",
        "services.a.expires_at",
    ]
    service = tenants.services.get("a")
    assert service is not None
    assert service.policy.quota_bytes == 1_000


async def test_a_change_of_another_field_cuts_the_sessions_of_a_service_that_has_expired_meanwhile() -> None:
    now = NOW
    tenants = Governed(terms=Terms(lambda: now))
    await tenants.let(expires_at=NOW + 1)
    session = tenants.carried()
    now = NOW + 1  # the worker that watches the clock has not looked yet
    changed = shop(expires_at=NOW + 1, down_rate=5)
    expected = Plan(changed={"a": ("down_rate",)}, evicted=1)
    assert await tenants.applier.plan(changed) == expected
    assert await tenants.applier.apply(changed) == expected
    service = tenants.services.get("a")
    assert service is not None
    assert (cut_reasons(session), service.refusal) == ([Reason.EXPIRED], EXPIRED)
