from copy import deepcopy
from typing import Any, cast

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


@pytest.mark.parametrize("answer", [Reject, Completed])
@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (("no",), "'no') needs a Reason: write te.{0}(te.Reason.{1}, 'no')"),
        (("", "no"), "'') needs a Reason: write te.{0}(te.Reason.{1}, 'no')"),
        (("busy", "later"), "'busy') needs a Reason: write te.{0}(te.Reason.{1}, 'later')"),
        (("rate",), "'rate') needs a Reason: write te.{0}(te.Reason.RATE)"),
        (("rate", "too fast"), "'rate') needs a Reason: write te.{0}(te.Reason.RATE, 'too fast')"),
        ((None,), "None) needs a Reason: write te.{0}(te.Reason.{1})"),
        ((7, 8), "7) needs a Reason: write te.{0}(te.Reason.{1})"),
        ((Reason,), "<enum 'Reason'>) needs a Reason: write te.{0}(te.Reason.{1})"),
        ((Reason.IDLE, None), "idle, None): the detail must be text"),
        ((Reason.IDLE, b"raw"), "idle, b'raw'): the detail must be text"),
    ],
)
def test_an_answer_without_a_reason_or_with_a_detail_that_is_no_text_is_refused_with_the_mend(
    answer: type[Reject] | type[Completed], arguments: tuple[Any, ...], mend: str
) -> None:
    with pytest.raises(TypeError) as refusal:
        answer(*arguments)
    usual = "POLICY" if answer is Reject else "FINISHED"
    assert str(refusal.value) == f"{answer.__name__}({mend.format(answer.__name__, usual)}"


def test_the_message_of_a_refused_answer_is_short_however_long_the_value() -> None:
    with pytest.raises(TypeError) as refusal:
        Reject(cast(Any, "x" * 100_000))
    assert len(str(refusal.value)) < 300


class Raising(str):
    """Text whose methods raise."""

    __slots__ = ()

    def __str__(self) -> str:
        raise LookupError("no text")

    __bool__ = __len__ = __repr__ = __str__  # type: ignore[assignment]


@pytest.mark.parametrize("kind", [Completed, Reject])
def test_a_detail_of_a_subclass_is_plain_text(kind: type[Completed] | type[Reject]) -> None:
    detail = kind(Reason.POLICY, Raising("why")).detail
    assert type(detail) is str
    assert detail == "why"
