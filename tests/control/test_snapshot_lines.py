import gc
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.cancels import cancel_at_every_step
from tests.support.fake_link import FakeLink
from tests.support.policies import STAGE_KEYS, Hours
from trioedge.control.snapshot_lines import MAX_LINE_BYTES, MAX_LISTS, MAX_VALUES, KnownLines, SnapshotReader
from trioedge.errors import MAX_FAULTS
from trioedge.services.control_plane import SnapshotError
from trioedge.services.policy import Policy, Settings
from trioedge.services.snapshot import Snapshot

NAME = "a service's name is printable text of 1 to 255 letters"
HEAD = {"version": "7", "full": True}
NEWS = {"version": "8", "full": False}


def body(*lines: object) -> bytes:
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)


def whole(*services: dict[str, object], head: dict[str, Any] = HEAD) -> bytes:
    return body(head, *services, {"end": len(services)})


def read(reader: SnapshotReader, data: bytes) -> None:
    for _ in reader.read(data):
        pass


def outcome(steps: Iterator[None]) -> Any:
    """Run steps to their end and return their value."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def read_all(data: bytes, known: KnownLines | None = None) -> Snapshot:
    reader = SnapshotReader(known or KnownLines())
    read(reader, data)
    snapshot = outcome(reader.finish())
    assert isinstance(snapshot, Snapshot)
    return snapshot


def faults_of(data: bytes, known: KnownLines | None = None) -> tuple[str, ...]:
    """Return the faults of a snapshot, which is refused at once or returned with them."""
    try:
        found = read_all(data, known).faults
    except SnapshotError as error:
        found = error.faults
    assert found
    return found


def settings(rate: float) -> Settings:
    return Settings(Policy(session_rate=rate))


async def pieces(data: bytes, size: int) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(data), size):
        await trio.lowlevel.checkpoint()
        yield data[start : start + size]


async def apply(data: bytes, known: KnownLines, link: FakeLink, size: int = 65_536) -> None:
    async with SnapshotReader(known) as reader:
        async with aclosing(pieces(data, size)) as chunks:
            await reader.receive(chunks)
        await reader.apply(link)


@pytest.fixture
async def known() -> KnownLines:
    """An edge that has shop at 1 and cafe at 2."""
    known = KnownLines()
    await apply(whole({"name": "shop", "session_rate": 1}, {"name": "cafe", "session_rate": 2}), known, FakeLink())
    return known


def test_a_full_snapshot_is_read() -> None:
    assert read_all(whole({"name": "shop", "session_rate": 20}, {"name": "cafe"})) == Snapshot(
        {"shop": settings(20), "cafe": Settings()}, version="7"
    )
    assert read_all(whole()) == Snapshot({}, version="7")


def test_the_last_line_may_have_no_newline() -> None:
    assert read_all(whole({"name": "cafe"}).removesuffix(b"\n")).services == {"cafe": Settings()}


def test_a_reader_may_finish_twice() -> None:
    reader = SnapshotReader(KnownLines())
    read(reader, whole({"name": "cafe"}).removesuffix(b"\n"))
    assert outcome(reader.finish()) == outcome(reader.finish())


def test_changes_are_refused_before_a_first_full_snapshot() -> None:
    assert faults_of(whole(head=NEWS)) == ("says only what changed, and no snapshot is applied yet",)


async def test_changes_are_read(known: KnownLines) -> None:
    data = body(NEWS, {"name": "shop", "session_rate": 9}, {"removed": "cafe"}, {"removed": "bank"}, {"end": 3})
    assert read_all(data, known) == Snapshot(
        {"shop": settings(9)}, frozenset({"cafe", "bank"}), full=False, version="8"
    )


async def test_a_line_that_is_applied_already_is_not_parsed(known: KnownLines, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    loads = json.loads

    def note(line: bytes) -> object:
        parsed.append(line)
        return loads(line)

    monkeypatch.setattr(json, "loads", note)
    data = whole({"name": "cafe", "session_rate": 2}, {"name": "bank"}, {"name": "shop", "session_rate": 1})
    assert read_all(data, known) == Snapshot({"bank": Settings()}, full=False, allow_removal=False, version="7")
    assert parsed == [json.dumps(HEAD).encode(), b'{"name": "bank"}', b'{"end": 3}']


async def test_a_full_snapshot_removes_the_services_that_it_does_not_name(known: KnownLines) -> None:
    data = whole({"name": "shop", "session_rate": 1})
    assert read_all(data, known) == Snapshot({}, frozenset({"cafe"}), full=False, allow_removal=False, version="7")
    await apply(data, known, FakeLink())
    assert read_all(data, known) == Snapshot({}, full=False, allow_removal=False, version="7"), "once"


async def test_the_lines_of_a_refused_snapshot_are_read_again(known: KnownLines) -> None:
    link, news = FakeLink(), whole({"name": "shop", "session_rate": 9}, {"name": "bank"})
    link.refuses = ("services.shop.accept[0] is wrong",)
    with pytest.raises(SnapshotError, match="accept"):
        await apply(news, known, link)
    faults_of(body(HEAD, {"name": "shop", "session_rate": -1}, {"end": 1}), known)
    link.refuses = ()
    await apply(news, known, link)
    assert link.snapshots[-1] == Snapshot(
        {"shop": settings(9), "bank": Settings()}, frozenset({"cafe"}), full=False, allow_removal=False, version="7"
    )


async def test_a_service_that_comes_back_as_it_was_is_a_change(known: KnownLines) -> None:
    link, old, new = FakeLink(), {"name": "shop", "session_rate": 1}, {"name": "shop", "session_rate": 9}
    await apply(whole(new, head=NEWS), known, link)
    await apply(whole(old, head=NEWS), known, link)
    assert [snapshot.services for snapshot in link.snapshots] == [{"shop": settings(9)}, {"shop": settings(1)}]
    await apply(body(NEWS, {"removed": "shop"}, {"end": 1}), known, link)
    await apply(whole(old, head=NEWS), known, link)
    assert link.snapshots[-1].services == {"shop": settings(1)}


@pytest.mark.parametrize(
    ("lines", "faults"),
    [
        ([HEAD], ["cut short: it has no end"]),
        ([HEAD, {"name": "shop"}], ["cut short: it has no end"]),
        ([HEAD, {"name": "shop"}, {"end": 2}], ["cut short: its end counts 2 lines, and there were 1"]),
        ([HEAD, {"name": "shop"}, {"end": 0}], ["cut short: its end counts 0 lines, and there were 1"]),
        ([HEAD, {"end": 0}, {"name": "shop"}], ["line 3 is behind the end"]),
        ([HEAD, {"end": 0}, b"", {"end": 0}], ["line 4 is behind the end"]),
        ([HEAD, b" ", b"null", {"end": 0}], ["line 3 names no service, and is no end"]),
        ([HEAD, b"{", {"end": 0}], ["line 2 names no service, and is no end"]),
        ([HEAD, b"[" * 9_000, {"end": 0}], ["line 2 has lists or objects that are nested too deeply"]),
        ([b'{"a":' * 9_000], ["line 1 has lists or objects that are nested too deeply"]),
        ([HEAD, b"\xff", {"end": 0}], ["line 2 names no service, and is no end"]),
        ([HEAD, b"9" * 5_000, {"end": 0}], ["line 2 names no service, and is no end"]),
        ([HEAD, {"name": 3}, {"end": 0}], ["line 2 names no service, and is no end"]),
        ([HEAD, {"name": "a\n"}, {"end": 1}], [f"services.'a\\n': {NAME}"]),
        ([HEAD, {"name": "\ud800"}, {"end": 1}], [f"services.'\\ud800': {NAME}"]),
        ([HEAD, {"name": ""}, {"end": 1}], [f"services.'': {NAME}"]),
        ([HEAD, {"name": "a" * 255}, {"end": 0}], ["cut short: its end counts 0 lines, and there were 1"]),
        ([HEAD, {"name": "a" * 256}, {"end": 1}], [f"services.'{'a' * 99}...: {NAME}"]),
        ([HEAD, {"removed": "a\n"}, {"end": 0}], ["line 2 names no service, and is no end"]),
        ([HEAD, {"removed": ["shop"]}, {"end": 0}], ["line 2 names no service, and is no end"]),
        ([HEAD, {"name": "shop"}, {"name": "shop"}, {"end": 2}], ["services.shop is there twice"]),
        ([HEAD, {"name": "shop"}, {"removed": "shop"}, {"end": 2}], ["services.shop is there twice"]),
        ([HEAD, {"removed": "shop"}, {"removed": "shop"}, {"end": 2}], ["services.shop is there twice"]),
        ([HEAD, {"fault": "the database is gone"}], ["the database is gone", "cut short: it has no end"]),
        ([{"fault": "the database is gone"}], ["the database is gone"]),
        (
            [HEAD, {"name": "a", "session_rate": 0}, {"name": "b", "max_sessions": 0, "session_burst": 0}, {"end": 2}],
            [
                "services.a.session_rate = 0 must be a number above 0",
                "services.b.session_burst = 0 must be a whole number of at least 1",
                "services.b.max_sessions = 0 must be a whole number of at least 1, or 'unlimited'",
            ],
        ),
    ],
)
def test_every_fault_is_named(lines: list[object], faults: list[str]) -> None:
    assert faults_of(body(*lines)) == tuple(faults)


@pytest.mark.parametrize(
    "line", [b"null", b"<html>", {}, [], {"version": 7, "full": True}, {"version": "7"}, {"version": "7", "full": 1}]
)
def test_an_answer_without_a_head_is_not_read_further(line: object) -> None:
    fault = 'does not begin with {"version": text, "full": true or false}'
    assert faults_of(body(line, {"name": "shop", "session_rate": 0})) == (fault,)


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n \n\t"])
def test_an_empty_answer_is_no_snapshot(data: bytes) -> None:
    assert faults_of(data) == ("cut short: it has no end",)


@pytest.mark.parametrize("blank", [b"", b" ", b"\t \r"])
def test_blank_lines_are_skipped_wherever_they_stand(blank: bytes) -> None:
    lines = [HEAD, {"name": "shop", "session_rate": 1}, {"name": "cafe"}, {"end": 2}]
    plain = read_all(body(*lines))
    assert read_all(body(blank, *(each for line in lines for each in (line, blank)))) == plain
    assert read_all(body(*lines) + blank) == plain, "also a last one that no newline ends"


async def test_a_service_that_is_applied_may_be_named_only_once(known: KnownLines) -> None:
    line = {"name": "shop", "session_rate": 1}
    assert faults_of(whole(line, line), known) == ("services.shop is there twice",)
    assert faults_of(whole(line, {"name": "shop"}), known) == ("services.shop is there twice",)
    assert faults_of(whole({"name": "shop"}, line), known) == ("services.shop is there twice",)


def test_faults_are_bounded_and_counted() -> None:
    many = [{"name": f"s{number}", "session_rate": 0} for number in range(MAX_FAULTS + 5)]
    faults = faults_of(whole(*many))
    assert len(faults) == MAX_FAULTS + 1
    assert faults[-1] == "and 5 more"
    (fault,) = faults_of(whole({"name": "shop", "outbound": "x" * 1_000}))
    assert len(fault) == 303


def test_entries_are_checked_too_if_there_are_other_faults() -> None:
    services: list[dict[str, object]] = [
        {"name": "shop", "accept": ["nohost"], "device_limit": "one"},
        {"name": "cafe", "reject": ["nowhere"]},
    ]
    assert [fault.partition(" ")[0] for fault in faults_of(whole(*services))] == [
        "services.shop.device_limit",
        "services.shop.accept[0]",
    ], "the edge checks those of the services without another fault"
    assert [fault.partition(" ")[0] for fault in faults_of(whole(*services)[:-1] + b"junk")] == [
        "services.shop.device_limit",
        "line",
        "cut",
        "services.shop.accept[0]",
        "services.cafe.reject[0]",
    ]
    assert read_all(whole(services[1])).services, "without other faults, they are checked when they are applied"


@pytest.mark.parametrize("error", [SnapshotError(["no"]), OSError()])
async def test_a_reader_that_an_error_ends_frees_a_service_in_each_step(error: Exception, known: KnownLines) -> None:
    data = body(HEAD, *({"name": f"{number}"} for number in range(50)), {"removed": "x"})
    reader = SnapshotReader(known)
    with pytest.raises(type(error)):  # noqa: PT012 - the block is what is tested
        async with reader:
            read(reader, data)
            raise error
    assert reader.services == {}
    reader = SnapshotReader(known)
    read(reader, data)
    left = [len(reader.services) for _ in reader.free()]
    assert left[:50] == list(range(49, -1, -1))
    assert len(left) == 50 + 50 + 1, "and the hashes of their lines, and the removed"


async def test_a_cancel_while_services_are_freed_is_a_cancel(known: KnownLines) -> None:
    with trio.CancelScope() as scope:
        async with SnapshotReader(known) as reader:
            read(reader, body(HEAD, {"name": "bank"}))
            scope.cancel()
            raise SnapshotError(["no"])
    assert scope.cancelled_caught


@pytest.mark.parametrize("error", [None, SnapshotError(["no"])])
async def test_no_full_pass_from_the_first_bytes_to_the_end(error: Exception | None, known: KnownLines) -> None:
    before = gc.get_threshold()
    with suppress(SnapshotError):
        async with SnapshotReader(known) as reader:
            assert gc.get_threshold() == before, "a control plane may have no news for long"
            async with aclosing(pieces(body(HEAD, {"name": "bank"}), 9)) as chunks:
                await reader.receive(chunks)
            assert gc.get_threshold()[2] > before[2]
            if error is not None:
                raise error
    assert gc.get_threshold() == before


async def test_an_applied_snapshot_is_not_freed(known: KnownLines) -> None:
    link = FakeLink()
    async with SnapshotReader(known) as reader:
        read(reader, whole({"name": "bank"}))
        await reader.apply(link)
    assert link.snapshots[0].services == {"bank": Settings()}


def test_a_fault_that_ends_the_reading_comes_behind_those_before_it() -> None:
    faults = faults_of(body(HEAD, {"name": "shop", "session_rate": 0}, b" " * (MAX_LINE_BYTES + 1)))
    assert [fault.partition(" ")[0] for fault in faults] == ["services.shop.session_rate", "line"]


def test_a_line_is_bounded() -> None:
    line = json.dumps({"name": "shop", "bogus": "x"}).encode().ljust(MAX_LINE_BYTES)
    assert faults_of(body(HEAD, line, {"end": 1}))[0].startswith("services.shop has no key")
    reader = SnapshotReader(KnownLines())
    read(reader, body(HEAD) + line)
    with pytest.raises(SnapshotError, match=r"^services\.shop has more than 524,288 bytes"):
        read(reader, b" ")


def test_a_long_line_that_ends_in_the_same_chunk_is_bounded_too() -> None:
    line = json.dumps({"name": "shop"}).encode().ljust(MAX_LINE_BYTES + 1)
    assert faults_of(body(HEAD, line, {"end": 1})) == ("services.shop has more than 524,288 bytes",)


@pytest.mark.parametrize("line", [b" ", b'{"enabled": true, "name": "shop"}', rb'{"name": "\u0061"}', b'{"name": "'])
def test_a_long_line_that_does_not_begin_with_a_plain_name_is_named_by_its_number(line: bytes) -> None:
    faults = faults_of(body(HEAD, {"name": "shop"}, line.ljust(MAX_LINE_BYTES + 1), {"end": 2}))
    assert faults == ("line 3 has more than 524,288 bytes",)


@pytest.mark.parametrize("each", [[], {}])
def test_the_lists_of_a_line_are_bounded(each: object) -> None:
    """A line of 100,000 lists would block the loop for 50 ms."""
    most = {"name": "shop", "bogus": [each] * (MAX_LISTS - 2)}
    assert faults_of(body(HEAD, most, {"end": 1}))[0].startswith("services.shop has no key")
    more = {"name": "shop", "bogus": [each] * (MAX_LISTS - 1)}
    assert faults_of(body(HEAD, more, {"end": 1})) == ("services.shop has more than 10,000 lists",)


def test_the_values_of_a_line_are_bounded() -> None:
    def entries(count: int) -> bytes:
        return body(HEAD, {"name": "shop", "accept": ["::1"] * count}, {"end": 1})

    assert faults_of(entries(MAX_VALUES + 1)) == ("services.shop has more than 25,000 values",)
    assert len(read_all(entries(MAX_VALUES)).services["shop"].policy.accept) == MAX_VALUES


def test_a_snapshot_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = whole({"name": "shop"})
    monkeypatch.setattr("trioedge.control.snapshot_lines.MAX_BYTES", len(data))
    assert read_all(data).services == {"shop": Settings()}
    monkeypatch.setattr("trioedge.control.snapshot_lines.MAX_BYTES", len(data) - 1)
    with pytest.raises(SnapshotError, match=f"has more than {len(data) - 1} bytes"):
        read_all(data)


names = st.sampled_from(["shop", "cafe", "bank", "cinéma", "a b"])
tables = st.dictionaries(names, st.integers(1, 3))
rounds = st.lists(st.tuples(st.booleans(), st.booleans(), tables, st.sets(names), st.integers(1, 200)), max_size=6)


@examples(40)
@given(rounds)
def test_an_edge_has_the_services_of_the_last_snapshot(
    rounds: list[tuple[bool, bool, dict[str, int], set[str], int]],
) -> None:
    """Full snapshots and changes, refused or not, in chunks of any size: the last good one is applied, and all of it.

    Half a second: forty examples of some snapshots each.
    """

    async def main() -> None:
        known, link, said, doubtful = KnownLines(), FakeLink(), dict[str, int](), set[str]()
        for full, refused, table, removed, size in [(True, False, {"shop": 1}, set[str](), 9), *rounds]:
            lines: list[dict[str, object]] = [{"name": name, "session_rate": rate} for name, rate in table.items()]
            gone = removed - set(table)
            if not full:
                lines += [{"removed": name} for name in gone]
            link.refuses = ("no",) if refused else ()
            before = len(link.snapshots)
            try:
                await apply(whole(*lines, head=HEAD if full else NEWS), known, link, size)
            except SnapshotError:
                assert refused
                doubtful |= {name for name in (said | table) if full or name in table or name in gone}
                continue
            kept = {} if full else {name: rate for name, rate in said.items() if name not in gone}
            news = {name for name, rate in table.items() if said.get(name) != rate}
            said = kept | table
            assert link.services == {name: settings(rate) for name, rate in said.items()}
            told = set(link.snapshots[before].services)
            assert news <= told <= news | doubtful, "services that did not change are left out"

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))  # it rests for long between pieces


async def test_a_cancel_while_a_snapshot_is_received_changes_nothing(known: KnownLines) -> None:
    link = FakeLink()
    with trio.CancelScope() as scope:
        scope.cancel()
        await apply(whole({"name": "bank"}), known, link)
    assert scope.cancelled_caught
    assert link.snapshots == []
    await apply(whole({"name": "shop", "session_rate": 1}), known, link)
    assert link.snapshots == [Snapshot({}, frozenset({"cafe"}), full=False, allow_removal=False, version="7")]


async def test_a_cancel_while_a_snapshot_is_applied_leaves_the_link_all_of_it_or_nothing(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """The known lines must not be used after it."""
    monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", 1e-9)
    links: list[FakeLink] = []
    lines: list[dict[str, object]] = [{"name": name} for name in ("shop", "cafe", "bank")]

    async def apply_all() -> None:
        links.append(FakeLink())
        await apply(whole(*lines), KnownLines(), links[-1])

    def check() -> None:
        assert [len(snapshot.services) for snapshot in links[-1].snapshots] in ([], [3])

    assert await cancel_at_every_step(apply_all, check) > 8
    assert {len(link.snapshots) for link in links} == {0, 1}


def test_a_line_has_the_tables_of_stages() -> None:
    reader = SnapshotReader(KnownLines(), STAGE_KEYS)
    read(reader, whole({"name": "shop", "hours": {"since": 8}}))
    assert outcome(reader.finish()).services == {"shop": Settings(Policy(stages=(Hours(8),)))}
    faults = faults_of(whole({"name": "shop", "hours": {"since": 8}}))
    assert faults == (
        "services.shop has no table 'hours': no stage names a class of keys, as in @te.decision(policy=Hours)",
    )


async def test_a_line_whose_table_differs_is_a_change() -> None:
    known, link = KnownLines(), FakeLink(STAGE_KEYS)
    for since in (8, 8, 9):
        async with SnapshotReader(known, link.stage_keys) as reader:
            read(reader, whole({"name": "shop", "hours": {"since": since}}, {"name": "cafe"}))
            await reader.apply(link)
    assert [list(snapshot.services) for snapshot in link.snapshots] == [["shop", "cafe"], [], ["shop"]]
    assert link.services["shop"].policy[Hours].since == 9
