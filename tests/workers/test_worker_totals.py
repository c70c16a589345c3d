"""What a worker says of its services to one control process after the other."""

from collections.abc import Hashable, Iterable

import pytest
import trio
import trio.testing

from tests.support.services import Governed
from tests.support.steps import run_steps
from tests.support.worker_edges import by_source, counted, make_control, talk
from tests.support.workers import open_workers
from trioedge.services.report import Usage
from trioedge.workers.sums import Row, Sums
from trioedge.workers.worker_totals import SpokenTotals


async def test_another_control_process_counts_nothing_twice(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        client = await talk(world, 0)
        await trio.sleep(6)
        assert counted(control) == (4, 1, 1)
        world.kill_hub()
        await client.send(b"more")
        await trio.sleep(1)
        await world.start_hub()
        await trio.sleep(45)
        assert len({report.epoch for report in control.reports}) == 2
        assert counted(control)[:2] == (8, 1)
        await client.close()
        await control.remove("shop")
        await trio.sleep(6)
        assert counted(control)[:2] == (8, 1)


def usage(*, up: int, down: int = 0, opened: int = 1, incarnation: int = 7) -> Usage:
    return Usage("shop", incarnation, up, down, opened, live=1, sources=1)


def said(totals: SpokenTotals, world: Governed, told: Usage) -> tuple[int, int, int]:
    (row,) = totals.rows([told], world.services)
    return row[3:6]


async def test_totals_begin_at_what_was_acknowledged_before_another_run() -> None:
    world, totals = Governed(), SpokenTotals(names_sources=False)
    totals.begin("one")
    assert said(totals, world, usage(up=10)) == (10, 0, 1)
    totals.settle([(7, 10, 0, 1)])
    assert said(totals, world, usage(up=25)) == (25, 0, 1), "the same run counts on"
    totals.begin("one")
    assert said(totals, world, usage(up=25)) == (25, 0, 1)
    totals.begin("two")
    assert said(totals, world, usage(up=25)) == (15, 0, 0)
    totals.settle([(7, 15, 0, 0)])
    totals.begin("three")
    assert said(totals, world, usage(up=30, down=2, opened=2)) == (5, 2, 1)


async def test_another_run_is_told_of_all_that_is_not_acknowledged_and_the_same_run_of_what_lives() -> None:
    world, totals = Governed(), SpokenTotals(names_sources=True)
    await world.let("idle")
    await world.let("moved")
    await world.let("live")
    moved = world.services.get("moved")
    assert moved is not None
    moved.up.add(5)
    world.carried("live")
    marked: list[str] = []
    world.link.report_soon = lambda service: marked.append(service.name)
    totals.begin("one")
    run_steps(totals.mark(world.link))
    assert sorted(marked) == ["live", "moved"]
    totals.settle([(moved.incarnation, 5, 0, 0)])
    marked.clear()
    totals.begin("one")
    run_steps(totals.mark(world.link))
    assert marked == ["live"]
    marked.clear()
    totals.begin("two")
    run_steps(totals.mark(world.link))
    assert marked == ["live"], "what moved was acknowledged"


async def test_sources_are_named_only_where_the_control_plane_may_ask() -> None:
    world = Governed()
    await world.let("shop")
    session = world.carried("shop")
    shop = session.service
    told = Usage("shop", shop.incarnation, 0, 0, 1, 1, 1)
    for names in (True, False):
        totals = SpokenTotals(names_sources=names)
        totals.begin("one")
        (row,) = totals.rows([told], world.services)
        assert row[-1] == ((session.source_key,) if names else ())
        assert row[2] is False


async def test_totals_with_very_many_sources_go_in_messages_of_bounded_size(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.workers.worker_control.KEYS_PER_MESSAGE", 3)
    control = make_control()
    said: list[int] = []
    add = Sums.add

    def noted(sums: Sums, worker: Hashable, rows: Iterable[Row]) -> None:
        kept = [*rows]
        said.append(sum(len(row[-1]) for row in kept))
        add(sums, worker, kept)

    monkeypatch.setattr(Sums, "add", noted)
    async with open_workers(by_source, control) as world:
        for number in range(1, 5):
            await talk(world, 0, f"192.0.2.{number}")
            await talk(world, 0, f"203.0.113.{number}")
        await trio.sleep(20)
        assert counted(control)[1] + counted(control, "bank")[1] == 8
    assert max(said) == 4, "those of one service, and not of two"
