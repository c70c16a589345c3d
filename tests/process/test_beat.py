"""What a process with one loop tells its service manager, and when; under a fake clock."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trioedge.process import beat as module
from trioedge.process.beat import Beat


class Said:
    """Stands in for the datagrams."""

    def __init__(self) -> None:
        self.wanted = True
        self.lines: list[tuple[float, str]] = []

    def is_wanted(self) -> bool:
        return self.wanted

    def beat_seconds(self) -> float:
        return 2.0

    def __getattr__(self, name: str) -> Any:
        def say(*given: object) -> None:
            words = [f"{each:g}" if isinstance(each, float) else str(each) for each in given]
            self.lines.append((trio.current_time(), " ".join([name, *words])))

        return say


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    said = Said()
    monkeypatch.setattr(module, "notify", said)
    return said


async def test_it_starts_serves_reloads_and_drains(said: Said, autojump_clock: MockClock) -> None:
    live = [0]
    beat = Beat(lambda: live[0], drain_seconds=10)
    since = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat.run)
        await trio.sleep(3)
        beat.ready()
        live[0] = 1
        await trio.sleep(2)
        beat.reload(lambda: said.lines.append((trio.current_time(), "reload")))
        live[0] = 1_200
        beat.drain()
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    starting = "starting starting: not every edge has its services and its workers yet"
    assert [(at - since, text) for at, text in said.lines] == [
        (0, starting),
        (2, starting),
        (3, "ready serving, 0 sessions live"),
        (4, "ready serving, 1 session lives"),
        (5, "reloading"),
        (5, "reload"),
        (5, "ready serving, 1 session lives"),
        (5, "stopping draining, 1,200 sessions live 10"),
        (6, "stopping draining, 1,200 sessions live 9"),
    ]


async def test_a_drain_before_the_edges_are_ready_stays_a_drain(said: Said, autojump_clock: MockClock) -> None:
    beat = Beat(lambda: 0, drain_seconds=1)
    beat.drain()
    beat.ready()
    assert [text for _, text in said.lines] == ["stopping draining, 0 sessions live 1"] * 2


async def test_a_reload_that_raises_has_ended_too(said: Said) -> None:
    beat = Beat(lambda: 0, drain_seconds=1)
    beat.ready()
    with pytest.raises(ZeroDivisionError):
        beat.reload(lambda: 1 / 0)
    assert [text.split()[0] for _, text in said.lines] == ["ready", "reloading", "ready"]


async def test_without_a_manager_the_worker_ends_and_says_nothing(said: Said) -> None:
    said.wanted = False
    beat = Beat(lambda: 0, drain_seconds=1)
    await beat.run()
    beat.ready()
    beat.drain()
    assert said.lines == []
