"""Warnings about policies: fields that no stage reads, and sessions without a destination."""

from typing import Any

import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.support.policies import Hours
from tests.support.services import Governed
from trioedge.services.policy import FATES, Policy, Settings
from trioedge.services.policy_warnings import PolicyWarnings
from trioedge.services.snapshot import Snapshot
from trioedge.testing import open_edge

NO_OUTBOUND = "policy has no outbound: its sessions will be refused"


@pytest.mark.parametrize(
    ("policy", "keys"),
    [
        (Policy(), []),
        (Policy(session_rate=1), []),
        (Policy(down_rate=1), ["down_rate"]),
        (Policy(max_sessions=1, down_rate=1, session_rate=1), ["down_rate", "max_sessions"]),
        (Policy(enabled=False), ["enabled"]),
        (Policy(accept=("::/0",)), ["accept"]),
        (Policy(stages=(Hours(8),)), []),
    ],
)
def test_a_field_that_is_set_and_that_no_stage_reads_is_named(policy: Policy, keys: list[str]) -> None:
    warnings = PolicyWarnings({"session_rate"})
    warnings.note("shop", policy)
    assert (warnings.keys, warnings.services) == (keys, ["shop"] if keys else [])
    assert warnings.without_outbound == []


def test_the_first_services_that_set_such_a_field_are_named_once_each() -> None:
    warnings = PolicyWarnings(())
    for name in "abcd":
        warnings.note(name, Policy(down_rate=1, up_rate=1))
    assert (warnings.keys, warnings.services) == (["down_rate", "up_rate"], ["a", "b", "c"])


def test_the_first_services_without_an_outbound_are_named_where_sessions_need_one() -> None:
    warnings = PolicyWarnings(FATES, needs_outbound=True)
    warnings.note("known", Policy(outbound="tcp://192.0.2.9:80"))
    warnings.note("disabled", Policy(enabled=False))
    assert warnings.without_outbound == []
    for name in "abcd":
        warnings.note(name, Policy())
    assert warnings.without_outbound == ["a", "b", "c"]
    assert (warnings.keys, warnings.services) == ([], [])


def test_a_service_without_an_outbound_is_fine_where_sessions_need_none() -> None:
    warnings = PolicyWarnings(FATES)
    warnings.note("shop", Policy())
    assert warnings.without_outbound == []


def test_a_policy_may_earn_both_warnings() -> None:
    warnings = PolicyWarnings(FATES.keys() - {"max_sessions"}, needs_outbound=True)
    warnings.note("shop", Policy(max_sessions=1))
    assert (warnings.keys, warnings.services, warnings.without_outbound) == (["max_sessions"], ["shop"], ["shop"])


# On an edge.


@te.decision(provides=("destination",))
def elsewhere(session: te.Session) -> te.Verdict:
    session.destination = "tcp://192.0.2.8:80"
    return te.CONTINUE


class Anywhere:
    """An endpoint of a user's that reads the `outbound` and works without one."""

    enforces = ("outbound",)

    async def handle(self, session: te.Session) -> te.Outcome:
        return te.Completed()


def to(session: te.Session) -> str:
    return "tcp://192.0.2.9:80"


@pytest.mark.parametrize(
    ("stages", "endpoint", "needed"),
    [
        ([], te.Forward(), True),
        ([te.SessionGate(5)], te.Forward(allow="private"), True),
        ([elsewhere], te.Forward(), False),
        ([], te.Forward("tcp://192.0.2.9:80"), False),
        ([], te.Forward(to), False),
        ([], Anywhere(), False),
    ],
)
async def test_an_edge_warns_of_policies_without_an_outbound_if_nothing_else_names_a_destination(
    stages: list[Any], endpoint: object, needed: bool, autojump_clock: MockClock
) -> None:
    control = te.MemoryControl({"default": Policy(), "off": Policy(enabled=False)})
    edge = te.Edge("tcp://127.0.0.1:6380", stages, endpoint, control=control)
    assert edge.outline.needs_outbound is needed
    with capture_logs() as logs:
        async with open_edge(edge):
            pass
    warnings = [entry["services"] for entry in logs if entry["event"] == NO_OUTBOUND]
    assert warnings == ([["default"]] if needed else [])


async def test_the_warning_is_logged_after_a_snapshot_is_applied_and_not_for_a_plan() -> None:
    world = Governed()
    world.applier.needs_outbound = True
    snapshot = Snapshot({f"{number}": Settings() for number in range(5)})
    with capture_logs() as logs:
        await world.applier.plan(snapshot)
        assert logs == []
        await world.applier.apply(snapshot)
    assert [entry["services"] for entry in logs if entry["event"] == NO_OUTBOUND] == [["0", "1", "2"]]
    with capture_logs() as logs:
        await world.applier.apply(snapshot)
    assert logs == [], "nothing has changed"
