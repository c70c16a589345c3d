import pytest

from tests.support.policies import Hours
from trioedge.services.policy import Policy
from trioedge.services.unenforced import Unenforced


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
    found = Unenforced({"session_rate"})
    found.note("shop", policy)
    assert found.keys == keys
    assert found.services == ["shop"][: len(keys)]
    assert bool(found) is bool(keys)


def test_the_first_services_are_named_once_each() -> None:
    found = Unenforced(())
    for name in "abcd":
        found.note(name, Policy(down_rate=1, up_rate=1))
    assert found.services == ["a", "b", "c"]
