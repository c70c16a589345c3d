"""The objects that follow changes of services."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from trioedge.services.applying.watchers import Watchers, name_of_code
from trioedge.services.policy import Settings
from trioedge.services.service import Service
from trioedge.services.snapshot import Change
from trioedge.session.meter import Meter, Total
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_session

CHANGE = Change("shop", None, Settings())


def shop() -> Service:
    return Service("shop", 1, Settings(), Meter(Total()), Meter(Total()))


class Following:
    """A watcher that keeps its calls; another kind of exception is raised first if there is one."""

    def __init__(self, calls: list[str], name: str, fault: BaseException | None = None) -> None:
        self.calls, self.name, self.fault = calls, name, fault

    def changed(self, service: Service, change: Change) -> Iterator[None]:
        self.calls.append(f"{self.name} changed {service.name}")
        yield
        if self.fault is not None:
            raise self.fault

    def foresee(self, service: Service, after: Settings | None) -> Iterator[None]:
        yield from self.changed(service, CHANGE)

    def settle(self) -> Iterator[None]:
        yield from self.changed(shop(), CHANGE)


CALLS: list[Callable[[Watchers], Iterator[object]]] = [
    lambda watchers: watchers.notify(shop(), CHANGE),
    lambda watchers: watchers.foresee(shop(), None),
    lambda watchers: watchers.settle(),
]


@pytest.mark.parametrize("call", CALLS, ids=["tell", "foresee", "settle"])
@pytest.mark.parametrize("fault", [RuntimeError("a mistake"), BaseExceptionGroup("both", [MemoryError("none")])])
async def test_after_an_exception_of_one_watcher_the_others_are_called(
    call: Callable[[Watchers], Iterator[object]], fault: BaseException
) -> None:
    watchers, calls = Watchers(EdgeLog()), list[str]()
    for name in "ab":
        watchers.add(Following(calls, name, fault))
    with capture_logs() as logs:
        assert list(call(watchers)) == [None, None]
    assert sorted(calls) == ["a changed shop", "b changed shop"]
    assert logs[0]["watcher"] == "Following"


@pytest.mark.parametrize("call", CALLS, ids=["tell", "foresee", "settle"])
def test_an_interrupt_of_the_process_is_not_held_back(call: Callable[[Watchers], Iterator[object]]) -> None:
    watchers = Watchers(EdgeLog())
    watchers.add(Following([], "a", KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        list(call(watchers))


class Giving:
    """A watcher that foresees what it was made with."""

    def __init__(self, *given: object) -> None:
        self.given = given

    def changed(self, service: Service, change: Change) -> None: ...

    def foresee(self, service: Service, after: Settings | None) -> Iterator[Any]:
        yield from self.given


async def test_sessions_and_pauses_are_foreseen_and_anything_else_is_a_fault_of_its_watcher() -> None:
    session = make_session()
    watchers = Watchers(EdgeLog())
    for watcher in (Giving(None, session), Giving(session, "x", None), Giving(None)):
        watchers.add(watcher)
    with capture_logs() as logs:
        assert list(watchers.foresee(shop(), None)) == [None, session, session, None]
    assert [str(each["exc_info"]) for each in logs] == ["foresee gave 'x'; it must give sessions and None"]


@pytest.mark.parametrize("call", CALLS, ids=["tell", "foresee", "settle"])
def test_without_a_log_an_exception_of_a_watcher_is_raised(call: Callable[[Watchers], Iterator[object]]) -> None:
    watchers = Watchers(None)
    watchers.add(Following([], "a", LookupError("bug")))
    with pytest.raises(LookupError):
        list(call(watchers))


def test_a_watcher_may_do_nothing_but_follow_changes() -> None:
    class Plain:
        def changed(self, service: Service, change: Change) -> None: ...

    watchers = Watchers(None)
    watchers.add(Plain())
    assert [list(call(watchers)) for call in CALLS] == [[], [], []]


def test_the_watcher_that_came_last_is_notified_of_a_change_first() -> None:
    watchers, calls = Watchers(EdgeLog()), list[str]()
    for name in "abc":
        watchers.add(Following(calls, name))
    assert list(watchers.notify(shop(), CHANGE)) == [None] * 3
    assert calls == ["c changed shop", "b changed shop", "a changed shop"]


def test_code_is_named_by_its_function_its_method_or_its_class() -> None:
    assert name_of_code(shop) == "shop"
    assert name_of_code(Following([], "a").settle) == "Following.settle"
    assert name_of_code(Following([], "a")) == "Following"
