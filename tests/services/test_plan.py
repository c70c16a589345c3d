import pytest

from trioedge.services.plan import Plan


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
