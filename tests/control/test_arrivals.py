"""Snapshots that are read while others are being applied: whatever is refused, the last good state is reached."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.strategies import examples
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.services import Governed
from tests.support.slow_link import SlowLink
from trioedge.control import arrivals as module
from trioedge.control.arrivals import Arrivals, arrivals
from trioedge.control.settings import read_settings
from trioedge.control.snapshot_lines import KnownLines, SnapshotReader
from trioedge.loop import slices
from trioedge.services.control_plane import SnapshotError
from trioedge.services.policy import Policy, Settings
from trioedge.services.snapshot import Plan

Table = dict[str, Any]
SHOP, CAFE, BANK = {"session_rate": 1}, {"session_rate": 2}, {"session_rate": 3}
ALL: dict[str, Table] = {"shop": SHOP, "cafe": CAFE, "bank": BANK}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD_SECONDS", 0.0)  # else the mock clock never comes to it while there is work


def lines(version: str, tables: Mapping[str, Table], gone: tuple[str, ...] = (), *, full: bool) -> bytes:
    named = [{"name": name, **table} for name, table in tables.items()] + [{"removed": name} for name in gone]
    said = [{"version": version, "full": full, "allow_removal": True}, *named, {"end": len(named)}]
    return b"".join(json.dumps(each, sort_keys=True).encode() + b"\n" for each in said)


async def receive(version: str, data: bytes, reader: SnapshotReader) -> str:
    for start in range(0, len(data), 50):
        await trio.lowlevel.checkpoint()
        for _ in reader.read(data[start : start + 50]):
            pass
    return version


def snapshot(version: str, *, full: Any = False, gone: Any = (), **tables: Table) -> Any:
    return partial(receive, version, lines(version, tables, gone, full=full))


async def no_news(_: SnapshotReader) -> None:
    await trio.sleep_forever()


@pytest.fixture
def link() -> SlowLink:
    return SlowLink()


async def test_a_snapshot_is_received_while_the_one_before_is_being_applied(link: SlowLink) -> None:
    async with arrivals(link) as snapshots:
        await snapshots.next(snapshot("1", full=True, **ALL))
        link.slow("2")
        await snapshots.next(snapshot("2", cafe=BANK))
        assert (snapshots.version, snapshots.settled) == ("2", False)
        await snapshots.next(snapshot("3", shop={"enabled": False}))
        assert link.begun == ["1", "2", "3"]
        link.ends["2"].set()
        await trio.testing.wait_all_tasks_blocked()
        assert (snapshots.version, snapshots.settled) == ("3", True)
        assert link.reaches == 3


async def test_the_first_snapshot_is_applied_before_the_next_is_received(link: SlowLink) -> None:
    link.slow("1")
    async with arrivals(link) as snapshots, trio.open_nursery() as nursery:
        nursery.start_soon(snapshots.next, snapshot("1", full=True, **ALL))
        await trio.testing.wait_all_tasks_blocked()
        assert (snapshots.version, link.reaches) == ("", 0)
        link.ends["1"].set()
        await link.until(lambda link: link.reaches)
        assert link.services.keys() == ALL.keys()


async def test_a_snapshot_that_is_applied_soon_is_waited_for(link: SlowLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD_SECONDS", 100.0)
    async with arrivals(link) as snapshots:
        for version in "123":
            await snapshots.next(snapshot(version, full=True, **ALL))
            assert snapshots.settled


@pytest.mark.parametrize("applied", [Plan(), Plan(changed={"cafe": ("enabled",)})], ids=["nothing", "a part"])
async def test_after_a_refusal_the_version_is_that_of_before_unless_something_was_applied(
    link: SlowLink, applied: Plan
) -> None:
    async with arrivals(link) as snapshots:
        await snapshots.next(snapshot("1", full=True, **ALL))
        link.slow("2")
        link.faults["2"] = SnapshotError(["no"], applied)
        await snapshots.next(snapshot("2", cafe=BANK))
        link.ends["2"].set()
        with pytest.raises(SnapshotError, match="no"):
            await snapshots.next(no_news)
        assert (snapshots.version, snapshots.gave_up) == ("" if applied else "1", False)


async def test_a_refusal_gives_up_what_is_behind_and_its_lines_are_read_again(link: SlowLink) -> None:
    async with arrivals(link) as snapshots:
        await snapshots.next(snapshot("1", full=True, **ALL))
        link.slow("2", "3")
        link.faults["2"] = SnapshotError(["no"])
        await snapshots.next(snapshot("2", cafe=BANK, gone=("shop",)))
        await snapshots.next(snapshot("3", gone=("bank",), other={}))
        link.ends["2"].set()
        with pytest.raises(SnapshotError, match="no"):
            await snapshots.next(no_news)
        assert (snapshots.version, snapshots.gave_up, snapshots.settled) == ("", True, True)
        assert link.services.keys() == ALL.keys()
        await snapshots.next(snapshot("4", full=True, cafe=BANK))
        assert link.snapshots[-1].services == {"cafe": Settings(Policy(session_rate=3))}
        assert {"shop", "bank"} <= link.snapshots[-1].removed, "2 and 3 removed them, and were not applied"


async def test_a_reason_to_ask_again_is_told_when_what_came_before_is_applied(link: SlowLink) -> None:
    async def broken(_: SnapshotReader) -> str:
        raise OSError("away")

    async with arrivals(link) as snapshots, trio.open_nursery() as nursery:
        await snapshots.next(snapshot("1", full=True, **ALL))
        link.slow("2")
        await snapshots.next(snapshot("2", cafe=BANK))

        async def next_() -> None:
            with pytest.raises(OSError, match="away"):
                await snapshots.next(broken)
            assert snapshots.settled

        nursery.start_soon(next_)
        await trio.testing.wait_all_tasks_blocked()
        assert not snapshots.settled
        link.ends["2"].set()
    assert snapshots.version == "2"


@pytest.mark.parametrize(("count", "size"), [(2, 1_000_000), (100, 250)], ids=["many", "large"])
async def test_no_more_than_a_bound_is_received_ahead(
    link: SlowLink, count: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_AHEAD", count)
    monkeypatch.setattr(module, "MAX_BYTES", size)
    async with arrivals(link) as snapshots, trio.open_nursery() as nursery:
        await snapshots.next(snapshot("0", full=True, **ALL))
        link.slow("1")

        async def all_() -> None:
            for version in range(1, 10):
                await snapshots.next(snapshot(str(version), cafe={"session_rate": 10 + version}))

        link.ends |= {str(version): link.ends["1"] for version in range(1, 10)}
        nursery.start_soon(all_)
        await trio.testing.wait_all_tasks_blocked()
        assert link.begun == ["0", "1", "2", "3"]
        link.ends["1"].set()
    assert link.begun[-1] == "9"


async def test_an_exception_of_the_link_is_raised_as_it_is(link: SlowLink) -> None:
    async def serve() -> None:
        async with arrivals(link) as snapshots:
            await snapshots.next(snapshot("1", full=True, **ALL))
            link.faults["2"] = ZeroDivisionError()
            await snapshots.next(snapshot("2", cafe=BANK))
            await snapshots.next(no_news)

    with pytest.raises(ZeroDivisionError):
        await serve()


async def test_a_cancel_at_any_step_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_SECONDS", 1e-9)

    async def live() -> None:
        world = Governed()
        async with arrivals(world.link) as snapshots:
            await snapshots.next(snapshot("1", full=True, **ALL))
            await snapshots.next(snapshot("2", cafe=BANK, shop={"accept": ["nowhere"]}))
            with suppress(SnapshotError):
                await snapshots.next(snapshot("3", bank=SHOP))
                await snapshots.next(no_news)
            await snapshots.next(snapshot("4", full=True, bank=SHOP))

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before

    assert await cancel_at_every_step(live, check) > 40


tables = st.dictionaries(
    st.sampled_from("abc"),
    st.fixed_dictionaries(
        {}, optional={"enabled": st.booleans(), "session_rate": st.integers(1, 2), "accept": st.just(["192.0.2.1"])}
    ),
    max_size=3,
)


@attrs.frozen
class News:
    """A state of the services of a control plane.

    Attributes:
        tables: by service.
        fault: "read" or "compile" if one more service has a fault that shows then; "" if none has.
        full: whether it is told in full, even if the edge has a state that the control plane knows.
        pause: how often the control plane gives way before it answers.
    """

    tables: dict[str, Table]
    fault: str
    full: bool
    pause: int

    def all_tables(self) -> dict[str, Table]:
        faults: dict[str, Table] = {"read": {"session_rate": 0}, "compile": {"accept": ["nowhere"]}}
        return {**self.tables, **({"faulty": faults[self.fault]} if self.fault else {})}


class Plane:
    """A control plane that tells its states one after the other, each edge the changes since the one that it has."""

    def __init__(self, states: list[News], snapshots: Callable[[], Arrivals]) -> None:
        self.states = states
        self.asked = self.told = 0
        self.snapshots = snapshots

    async def receive(self, reader: SnapshotReader) -> str | None:
        self.asked += 1
        has = self.snapshots().version
        if has == str(len(self.states) - 1):
            await trio.sleep(0.1)  # work may rest on the mock clock, which waits while other tasks run
            return None
        number = min(self.told, len(self.states) - 1)
        self.told += 1
        news = self.states[number]
        for _ in range(news.pause):
            await trio.lowlevel.checkpoint()
        now = news.all_tables()
        if not has or news.full:
            data = lines(str(number), now, full=True)
        else:
            then = self.states[int(has)].all_tables()
            changed = {name: table for name, table in now.items() if then.get(name) != table}
            gone = tuple(name for name in then if name not in now)
            data = lines(str(number), changed, gone, full=False)
        return await receive(str(number), data, reader)


news = st.builds(News, tables, st.sampled_from(["", "", "read", "compile"]), st.booleans(), st.integers(0, 20))


@examples(100)
@given(st.lists(news, min_size=1, max_size=8), tables)
def test_whatever_is_refused_on_the_way_the_edge_comes_to_the_last_state(states: list[News], last: Table) -> None:
    async def main() -> None:
        world, known = Governed(), KnownLines()
        plane = Plane([*states, News(last, "", False, 0)], lambda: snapshots)
        async with arrivals(world.link, known) as snapshots:
            while snapshots.version != str(len(states)) or not snapshots.settled:
                assert plane.asked < 100
                with suppress(SnapshotError):
                    await snapshots.next(plane.receive)
        assert world.settings() == {
            name: read_settings(table, name, world.applier.stage_keys)[0] for name, table in last.items()
        }
        assert world.settings().keys() <= known.seen.keys() == known.hashes.keys()
        for line, name in known.names.items():
            assert line == hash(json.dumps({"name": name, **last[name]}, sort_keys=True).encode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "SLICE_SECONDS", 1e-9)  # other tasks run after every step
        trio.run(main, clock=MockClock(autojump_threshold=0))
