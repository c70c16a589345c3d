import gc
import weakref
from collections.abc import Iterator

import pytest

from trioedge.loop import collector
from trioedge.loop.collector import MANY, no_full_pass, settle
from trioedge.services.apply import SnapshotApplier
from trioedge.services.policy import Policy, Settings
from trioedge.services.registry import Registry
from trioedge.services.services import Services
from trioedge.services.snapshot import Snapshot
from trioedge.session.meter import Total
from trioedge.telemetry.log import EdgeLog


@pytest.fixture
def passes() -> Iterator[list[int]]:
    """The generations that the collector passed over; it runs very often here."""
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.collect()  # the next full pass is due when a quarter has been added to what this one leaves
    gc.set_threshold(10, 1, 1)
    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)
    gc.set_threshold(*before)
    gc.unfreeze()


def litter(count: int = 1_000) -> list[list[int]]:
    return [[] for _ in range(count)]


def test_within_the_context_only_younger_garbage_is_collected(passes: list[int]) -> None:
    with no_full_pass(), no_full_pass():
        passes.clear()  # one may have been due before
        kept = litter()
    assert set(passes) == {0, 1}
    kept += litter()
    assert 2 in passes
    assert len(kept) == 2_000


def test_after_overlapping_contexts_the_thresholds_are_as_before(passes: list[int]) -> None:
    one, other = no_full_pass(), no_full_pass()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    passes.clear()  # one may have been due before
    kept = litter()
    assert 2 not in passes
    other.__exit__(None, None, None)
    assert gc.get_threshold() == (10, 1, 1)
    assert kept


def test_thresholds_set_within_the_context_stay(passes: list[int]) -> None:
    with no_full_pass():
        gc.set_threshold(20, 2, 2)
    assert gc.get_threshold() == (20, 2, 2)


def test_after_settle_a_postponed_pass_is_not_due_any_more(passes: list[int]) -> None:
    with no_full_pass():
        passes.clear()  # one may have been due before
        kept = litter()
        settle()
        assert passes.count(2) == 1
    assert gc.get_freeze_count() >= len(kept)


class Loop:
    """A cycle, which only the collector frees."""

    def __init__(self) -> None:
        self.loop = self


@pytest.mark.parametrize("where", ["outside", "before the context", "young, within the context"])
def test_garbage_is_collected_before_the_rest_is_frozen(
    where: str, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.set_threshold(1_000, 0, 0)
    made = Loop()
    if where != "young, within the context":
        gc.collect()  # it is old by now
        gc.collect()
    garbage = weakref.ref(made)
    if where == "before the context":
        monkeypatch.setattr(collector, "DUE", -1)  # as if a full pass were due
    if where == "outside":
        del made
        settle()
    elif where == "before the context":
        del made
        with no_full_pass():
            assert garbage() is None
            settle()
    else:
        with no_full_pass():
            del made
            settle()
    assert garbage() is None


@pytest.mark.parametrize(("first", "then"), [(MANY + 1, 0), (MANY // 2, MANY), (10, 0)])
async def test_many_added_or_changed_services_are_frozen(passes: list[int], first: int, then: int) -> None:
    services = Services(Total(), Total(), governed=True)
    applier = SnapshotApplier(services, Registry(services), EdgeLog(), enforced=())
    frozen = gc.get_freeze_count()
    passes.clear()
    await applier.apply(Snapshot({f"service-{number}": Settings() for number in range(first)}))
    assert (gc.get_freeze_count() - frozen > first) is (first > MANY)
    changed = {f"service-{number}": Settings(Policy(session_rate=2)) for number in range(then)}
    await applier.apply(Snapshot(changed, full=False))
    assert (gc.get_freeze_count() - frozen > first) is (first + then > MANY)
