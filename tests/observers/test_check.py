from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import trioedge as te
from tests.support.observers import Keeps, observed
from trioedge.observers.check import check_observer, open_observer
from trioedge.testing import make_context


class NotAsync:
    def observe(self, batch: te.Batch) -> None: ...


class TakesTwo:
    async def observe(self, batch: te.Batch, more: int) -> None: ...


class AsyncClose(Keeps):
    async def close(self) -> None: ...


class RunsWithoutStatus(Keeps):
    async def run(self) -> None: ...


class AsyncOpen:
    async def open(self, context: te.EdgeContext) -> Keeps:
        return Keeps()


class OpensNothing:
    def open(self, context: te.EdgeContext) -> object:
        return None


class Opens:
    """A recipe whose live observer is of the same class as its argument."""

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make

    def open(self, context: te.EdgeContext) -> object:
        return self.make()


class Called:
    async def __call__(self, batch: te.Batch) -> None: ...


class HasACallable:
    observe = Called()


async def function(batch: te.Batch) -> None: ...


TWICE = Keeps()


@pytest.mark.parametrize(
    ("observers", "message"),
    [
        ([Keeps], "observer 1 (Keeps) is a class, not an observer: call it, Keeps(...)"),
        ([Keeps(), NotAsync()], "observer 2 (NotAsync): observe() is not async: write async def observe(self, batch)"),
        ([TakesTwo()], "observer 1 (TakesTwo): observe() must take the batch and nothing else"),
        ([object()], "observer 1 (object) is no observer: it needs async observe(batch)"),
        ([None], "observer 1 (NoneType) is no observer: it needs async observe(batch)"),
        ([function], "observer 1 (function) is no observer: it needs async observe(batch)"),
        ([te.SessionGate(5)], "observer 1 (SessionGate) is a decision: move it into stages"),
        ([AsyncClose()], "observer 1 (AsyncClose): close() is async, and is called without a wait"),
        ([RunsWithoutStatus()], "observer 1 (RunsWithoutStatus): run() must take task_status and nothing else"),
        ([AsyncOpen()], "observer 1 (AsyncOpen): open() is async; make it a plain def"),
        ([TWICE, TWICE], "observer 2 (Keeps) is in the list twice: make two of it"),
        (TWICE, "must be a list of observers, as in observers=[Keeps(…)]"),
        ("otel", "Edge(observers='otel') must be a list of observers, as in observers=[Count()]"),
        (None, "Edge(observers=None) must be a list of observers"),
    ],
)
def test_an_edge_refuses_what_is_no_observer(observers: Any, message: str) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        te.Edge("tcp://127.0.0.1:1", [], te.Forward("tcp://192.0.2.9:80"), observers=observers)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("observer", [Keeps(), Opens(Keeps), HasACallable()])
def test_an_edge_takes_an_observer_and_the_recipe_of_one(observer: object) -> None:
    assert observed(observer).outline.names
    check_observer(observer, "observer")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (partial(object), "observer 1 (Opens): open() returned "),
        (Keeps, ""),
        (NotAsync, "which: observe() is not async: write async def"),
        (RunsWithoutStatus, "which: run() must take task_status"),
    ],
)
def test_what_a_recipe_opens_is_checked(made: Callable[[], object], message: str) -> None:
    recipe = Opens(made)
    if not message:
        assert isinstance(open_observer(recipe, make_context(), "observer 1 (Opens)"), Keeps)
        return
    with pytest.raises(te.ConfigurationError) as refusal:
        open_observer(recipe, make_context(), "observer 1 (Opens)")
    assert message in str(refusal.value)


def test_a_recipe_that_opens_none_is_off() -> None:
    assert open_observer(OpensNothing(), make_context(), "observer 1") is None


def test_an_observer_without_open_is_its_own_live_observer() -> None:
    observer = Keeps()
    assert open_observer(observer, make_context(), "observer 1") is observer
