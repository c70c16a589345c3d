from copy import deepcopy

import attrs
import pytest

from trioedge.session.verdict import CONTINUE, Completed, Reason, Reject

LABELS = {
    "rate",
    "source",
    "concurrency",
    "capacity",
    "overload",
    "policy",
    "upstream_refused",
    "upstream_timeout",
    "upstream_unreachable",
    "upstream_unresolved",
    "finished",
    "reset",
    "idle",
    "deadline",
    "evicted",
    "drained",
    "fault",
}


def test_no_reason_that_dashboards_may_count_has_gone() -> None:
    assert set(Reason) >= LABELS


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_its_own_metric_label(reason: Reason) -> None:
    assert str(reason) == f"{reason}" == reason.value == reason.name.lower()


def test_continue_is_one_object_even_when_copied() -> None:
    assert deepcopy(CONTINUE) is CONTINUE
    assert repr(CONTINUE) == "CONTINUE"


def test_refusals_and_ends_compare_by_what_they_say() -> None:
    assert Reject(Reason.RATE, "x") == Reject(Reason.RATE, "x") != Reject(Reason.RATE, "y")
    assert Completed(Reason.IDLE) == Completed(Reason.IDLE) != Completed(Reason.RESET)
    assert len({Reject(Reason.IDLE), Completed(Reason.IDLE)}) == 2


def test_a_session_that_says_nothing_more_has_finished() -> None:
    assert Completed() == Completed(Reason.FINISHED, "")


@pytest.mark.parametrize("value", [Reject(Reason.RATE), Completed()])
def test_an_answer_cannot_be_changed_so_that_stages_may_share_one(value: Reject | Completed) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.detail = "changed"  # type: ignore[misc]
    assert value.detail == ""
