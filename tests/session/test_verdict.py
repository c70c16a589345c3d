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


def test_every_reason_that_dashboards_may_count_still_exists() -> None:
    assert set(Reason) >= LABELS


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_its_own_metric_label(reason: Reason) -> None:
    assert str(reason) == f"{reason}" == reason.value == reason.name.lower()


def test_a_copy_of_continue_is_the_same_object() -> None:
    assert deepcopy(CONTINUE) is CONTINUE
    assert repr(CONTINUE) == "CONTINUE"


def test_refusals_and_ends_are_equal_if_their_reason_and_detail_are() -> None:
    assert Reject(Reason.RATE, "x") == Reject(Reason.RATE, "x") != Reject(Reason.RATE, "y")
    assert Completed(Reason.IDLE) == Completed(Reason.IDLE) != Completed(Reason.RESET)
    assert len({Reject(Reason.IDLE), Completed(Reason.IDLE)}) == 2


def test_completed_without_arguments_means_finished() -> None:
    assert Completed() == Completed(Reason.FINISHED, "")


@pytest.mark.parametrize("value", [Reject(Reason.RATE), Completed()])
def test_an_answer_is_frozen_so_that_stages_can_share_one(value: Reject | Completed) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.detail = "changed"  # type: ignore[misc]
    assert value.detail == ""
