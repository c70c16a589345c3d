"""Good observers pass their check, and a bad one is named with its fault."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trioedge as te
from tests.support.observers import Keeps, Sleeps
from trioedge.testing import check_observer, make_context
from trioedge.testing.observer_checks import batches


class Recipe:
    """Hands batches to a worker of its own, and drops one that comes while the worker is busy."""

    def __init__(self) -> None:
        self.contexts: list[te.EdgeContext] = []

    def open(self, context: te.EdgeContext) -> "Live":
        self.contexts.append(context)
        return Live()


class Live:
    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[te.Batch](1)
        self.closed = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async for batch in self._receive:
            await trio.sleep(len(batch))

    async def observe(self, batch: te.Batch) -> None:
        await trio.lowlevel.checkpoint()
        with suppress(trio.WouldBlock):
            self._send.send_nowait(batch)

    def close(self) -> None:
        self._send.close()
        self._receive.close()


class DoesNothing:
    async def observe(self, batch: te.Batch) -> None: ...


@pytest.mark.parametrize("observer", [DoesNothing(), Keeps(), Sleeps(60), Recipe()], ids=type)
async def test_a_good_observer_passes(observer: object, autojump_clock: MockClock) -> None:
    await check_observer(observer)


async def test_a_recipe_is_opened_with_the_context_that_is_given(autojump_clock: MockClock) -> None:
    recipe, context = Recipe(), make_context()
    await check_observer(recipe, context=context)
    assert recipe.contexts == [context]


class Off(Recipe):
    def open(self, context: te.EdgeContext) -> Any:
        return None


class ReturnsACount(Keeps):
    async def observe(self, batch: te.Batch) -> Any:
        await super().observe(batch)
        return len(batch)


class RaisesForNoRecords(Keeps):
    async def observe(self, batch: te.Batch) -> None:
        await super().observe(batch)
        batch.ended[0]


class NeverReturns(Keeps):
    async def observe(self, batch: te.Batch) -> None:
        await trio.sleep_forever()


class ChangesIt(Keeps):
    async def observe(self, batch: te.Batch) -> None:
        await super().observe(batch)
        object.__setattr__(batch, "ended", ())


class MakesAnErrorOfTheCancel(Keeps):
    async def observe(self, batch: te.Batch) -> None:
        try:
            await super().observe(batch)
        except trio.Cancelled:
            raise OSError("gone") from None


class IsLateForItsCancel(Keeps):
    async def observe(self, batch: te.Batch) -> None:
        try:
            await super().observe(batch)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)


class BrokenByACancel(Keeps):
    broken = False

    async def observe(self, batch: te.Batch) -> None:
        if self.broken:
            raise RuntimeError("broken")
        self.broken = True
        await super().observe(batch)
        self.broken = False


class LeavesATask(Recipe):
    def open(self, context: te.EdgeContext) -> Any:
        return LiveLeavesATask()


class LiveLeavesATask(Live):
    async def observe(self, batch: te.Batch) -> None:
        await super().observe(batch)
        trio.lowlevel.spawn_system_task(trio.sleep_forever)


class LeavesAFile(Keeps):
    async def observe(self, batch: te.Batch) -> None:
        await super().observe(batch)
        self.kept.append(Path("/dev/null").open())  # noqa: ASYNC230, SIM115 - to be left open

    kept: list[Any] = []  # noqa: RUF012 - closed by the test


class LateWorker(Recipe):
    def open(self, context: te.EdgeContext) -> Any:
        return LiveLateWorker()


class LiveLateWorker(Live):
    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await super().run(task_status=task_status)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)


class CloseRaises(Recipe):
    def open(self, context: te.EdgeContext) -> Any:
        return LiveCloseRaises()


class LiveCloseRaises(Live):
    def close(self) -> None:
        super().close()
        raise LookupError("close")


@pytest.mark.parametrize(
    ("observer", "fault"),
    [
        (Off(), "Off is off: its open() returned None, so there is nothing to check"),
        (ReturnsACount(), "ReturnsACount returned 0: observe() returns nothing"),
        (RaisesForNoRecords(), "RaisesForNoRecords raised IndexError"),
        (NeverReturns(), "NeverReturns did not return within an hour"),
        (ChangesIt(), "ChangesIt changes its batch, and other observers share its records"),
        (MakesAnErrorOfTheCancel(), "MakesAnErrorOfTheCancel made OSError('gone') of a cancel"),
        (IsLateForItsCancel(), "IsLateForItsCancel returned 3 s after its cancel: an edge waits for it"),
        (
            BrokenByACancel(),
            "BrokenByACancel made RuntimeError('broken') of a batch, because the one before was cancelled",
        ),
        (LeavesATask(), "LeavesATask left "),
        (LeavesAFile(), "LeavesAFile left "),
        (LateWorker(), "the worker of LateWorker ended 3 s after its cancel: an edge waits for it"),
        (CloseRaises(), "close failed: LookupError('close')"),
    ],
)
async def test_a_bad_observer_is_named_with_its_fault(observer: object, fault: str, autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError) as raised:
        await check_observer(observer)
    assert str(raised.value).startswith(fault)
    while LeavesAFile.kept:
        LeavesAFile.kept.pop().close()


async def test_an_object_that_is_no_observer_is_refused(autojump_clock: MockClock) -> None:
    with pytest.raises(te.ConfigurationError, match=r"Forward: open\(\) returned .* it needs async observe"):
        await check_observer(te.Forward("tcp://192.0.2.9:80"))
    with pytest.raises(te.ConfigurationError, match="Keeps is a class, not an observer"):
        await check_observer(Keeps)


def test_the_batches_have_an_end_for_each_reason_refused_and_not() -> None:
    *_, full = batches()
    assert {(end.outcome.reason, end.refused) for end in full.ended} == {
        (reason, refused) for reason in te.Reason for refused in (True, False)
    }
    assert min(len(batch) for batch in batches()) == 0
    assert (len(full.changes), len(full.accepted), full.lost) == (3, 3, 7)
