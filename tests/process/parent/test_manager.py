from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import service_manager
from tests.support.parents import FakeChildren, FakeLog, fake_children
from trioedge.process.parent.ending import Ending
from trioedge.process.parent.manager import Manager
from trioedge.process.workers.slots import ProcessState


@pytest.fixture
def children() -> Iterator[FakeChildren]:
    with fake_children() as found:
        yield found


@pytest.fixture
def ending(children: FakeChildren) -> Ending:
    return Ending(children, 10.0, FakeLog())


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[service_manager.Manager]:
    with service_manager.manager(tmp_path) as found:
        monkeypatch.setenv("NOTIFY_SOCKET", found.path)
        yield found


async def test_it_is_ready_once_all_workers_are_and_stays_so_when_one_dies(
    children: FakeChildren, ending: Ending, heard: service_manager.Manager
) -> None:
    manager = Manager(children, ending, 2)
    late = children.workers()[1]
    assert late.column is not None
    children.memory.slots.set_state(late.column, ProcessState.STARTING)
    manager.turn(100.0)
    (said,) = heard.rest()
    assert "STATUS=starting: the workers do not accept clients yet" in said
    assert "READY" not in said
    children.memory.slots.set_state(late.column, ProcessState.READY)
    children.beat(late, 0.0, live=1)
    manager.turn(100.1)
    (said,) = heard.rest()
    assert "READY=1" in said
    assert "STATUS=serving by 2 of 2 workers, 1 session lives" in said
    children.died(late.pid)
    manager.turn(100.2)
    assert heard.rest() == [], "nothing is said between two beats"
    manager.turn(110.0)
    (said,) = heard.rest()
    assert "READY=1" in said
    assert "STATUS=serving by 1 of 2 workers, 0 sessions live" in said


async def test_a_reload_begins_and_ends(children: FakeChildren, ending: Ending, heard: service_manager.Manager) -> None:
    manager = Manager(children, ending, 2)
    manager.turn(0.0)
    heard.rest()
    manager.reloading(1.0)
    begun, done = heard.rest()
    assert "RELOADING=1" in begun
    assert "READY=1" in done


async def test_a_stop_is_told_at_once_with_the_time_that_it_may_take(
    children: FakeChildren, ending: Ending, heard: service_manager.Manager
) -> None:
    manager = Manager(children, ending, 2)
    manager.turn(0.0)
    heard.rest()
    ending.stop(1.0)
    manager.turn(1.0)
    (said,) = heard.rest()
    assert "STOPPING=1" in said
    assert "EXTEND_TIMEOUT_USEC=45000000" in said  # 10 s of the drain, 5 to spare, 30 of patience


async def test_without_a_manager_nothing_is_said(
    children: FakeChildren, ending: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(Manager, "_say", lambda *_: pytest.fail("it speaks"))
    Manager(children, ending, 2).turn(0.0)
