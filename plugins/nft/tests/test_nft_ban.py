"""The observer with an nft that only notes its commands, under a fake clock."""

import inspect
import itertools
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest
import trio
import trioedge as te
from trioedge.testing import check_observer, make_context, open_edge

from trioedge_nft import NftBan, nft_ban
from trioedge_nft.nft_ban import LiveNftBan
from trioedge_nft.program import NftError

Log: TypeAlias = list[MutableMapping[str, Any]]

BAD = "198.51.100.1"


class FakeNft:
    """Notes what nft was to apply, and when; it fails as often as a test says."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.called_at: list[float] = []
        self.failures = 0

    async def apply(self, _: str, commands: str) -> None:
        await trio.sleep(0.01)
        self.called_at.append(trio.current_time())
        if self.failures:
            self.failures -= 1
            raise NftError("denied")
        self.applied.append(commands)

    def banned(self) -> list[list[str]]:
        """The networks that each successful call has banned."""
        return [
            [word for word in commands.replace(",", "").split() if word[0].isdigit() and (":" in word or "." in word)]
            for commands in self.applied
        ]


@pytest.fixture
def nft(monkeypatch: pytest.MonkeyPatch) -> FakeNft:
    fake = FakeNft()
    monkeypatch.setattr(nft_ban, "apply", fake.apply)
    monkeypatch.setattr(nft_ban, "find", lambda program: program)
    return fake


def ends(
    source: str, count: int = 1, *, reason: te.Reason = te.Reason.RATE, at: float = 0.0, peer: str | None = None,
    refused: bool = True,
) -> list[Any]:  # fmt: skip
    """Ends of sessions of a source."""
    outcome: te.Outcome = te.Reject(reason) if refused else te.Completed(reason)
    end = te.SessionEnd(
        id=1, outcome=outcome, listener="tcp://127.0.0.1:6380", peer=peer or source, source=source, service="default",
        device=None, destination=None, upstream=None, connected=None, bytes_up=0, bytes_down=0, seconds=0.0,
        ended_at=at, trace=None,
    )  # fmt: skip
    return [end] * count


@asynccontextmanager
async def observing(recipe: NftBan) -> AsyncIterator[LiveNftBan]:
    """Run the observer for the length of a block."""
    live = recipe.open(make_context())
    async with trio.open_nursery() as nursery:
        await nursery.start(live.run)
        yield live
        nursery.cancel_scope.cancel()


async def test_it_keeps_the_promises_of_an_observer(nft: FakeNft, autojump_clock: Any, log: Log) -> None:
    await check_observer(NftBan(refusals=2))
    await check_observer(NftBan(create=True))


async def test_a_source_is_banned_once_it_was_refused_so_often(nft: FakeNft, autojump_clock: Any, log: Log) -> None:
    async with observing(NftBan(refusals=3, timeout_seconds=77)) as live:
        await live.observe(te.Batch(ended=ends(BAD, 2)))
        await trio.sleep(9)
        assert nft.applied == []
        await live.observe(te.Batch(ended=ends(BAD, 1, at=9)))
        await trio.sleep(9)
        assert nft.applied == [f"add element inet trioedge banned4 {{ {BAD} timeout 77s }}\n"]
    said = [line for line in log if line["event"] == "sources banned"]
    assert [(line["sources"], line["first"], line["seconds"]) for line in said] == [(1, f"{BAD}/32", 77)]


async def test_refusals_that_are_too_far_apart_ban_no_source(nft: FakeNft, autojump_clock: Any, log: Log) -> None:
    async with observing(NftBan(refusals=2, seconds=5)) as live:
        for at in range(0, 60, 6):
            await live.observe(te.Batch(ended=ends(BAD, at=at)))
        await trio.sleep(9)
        assert nft.applied == []


@pytest.mark.parametrize(
    "ended",
    [
        ends("127.0.0.1", 9),
        ends("127.9.9.9", 9),
        ends("::1", 9),
        ends("10.1.2.3", 9),  # allowed
        ends("2001:db8::2", 9),  # of the /64 of an address that is allowed
        ends("unix", 9),
        ends(BAD, 9, peer="192.0.2.1"),  # named by a balancer
        ends(BAD, 9, reason=te.Reason.OVERLOAD),
        ends(BAD, 9, reason=te.Reason.FINISHED, refused=False),
        ends(BAD, 9, reason=te.Reason.SOURCE, refused=False),
    ],
)
async def test_an_end_that_does_not_count_bans_no_source(
    ended: list[Any], nft: FakeNft, autojump_clock: Any, log: Log
) -> None:
    async with observing(NftBan(refusals=2, allow=["10.0.0.0/8", "2001:db8::1"])) as live:
        await live.observe(te.Batch(ended=ended))
        await trio.sleep(9)
        assert nft.applied == []


async def test_the_reasons_that_count_are_those_of_the_argument(nft: FakeNft, autojump_clock: Any, log: Log) -> None:
    async with observing(NftBan(refusals=2, reasons=["policy"])) as live:
        for number, reason in enumerate((te.Reason.RATE, te.Reason.POLICY)):
            await live.observe(te.Batch(ended=ends(f"198.51.100.{number}", 2, reason=reason)))
        await trio.sleep(9)
        assert nft.banned() == [["198.51.100.1"]]


async def test_addresses_of_one_ipv6_network_are_one_source(nft: FakeNft, autojump_clock: Any, log: Log) -> None:
    async with observing(NftBan(refusals=4)) as live:
        await live.observe(te.Batch(ended=[end for host in range(4) for end in ends(f"2001:db8::{host:x}")]))
        await trio.sleep(9)
        assert nft.applied == ["add element inet trioedge banned6 { 2001:db8::/64 timeout 600s }\n"]


async def test_many_sources_are_banned_by_one_call_every_half_second(
    nft: FakeNft, autojump_clock: Any, log: Log
) -> None:
    async with observing(NftBan(refusals=1)) as live:
        for number in range(40):
            await live.observe(te.Batch(ended=ends(f"198.51.100.{number}")))
            await trio.sleep(0.05)
        await trio.sleep(2)
    pauses = [later - earlier for earlier, later in zip(nft.called_at, nft.called_at[1:], strict=False)]
    assert len(nft.called_at) <= 6
    assert min(pauses) >= 0.5
    assert sorted(itertools.chain(*nft.banned())) == sorted(f"198.51.100.{number}" for number in range(40))


async def test_one_call_bans_at_most_a_thousand(nft: FakeNft, autojump_clock: Any, log: Log) -> None:
    async with observing(NftBan(refusals=1)) as live:
        ended = [end for number in range(1_500) for end in ends(f"10.0.{number >> 8}.{number & 255}")]
        await live.observe(te.Batch(ended=ended))
        await trio.sleep(5)
        calls = [len(banned) for banned in nft.banned()]  # the first one may come while the rest is counted
        assert (sum(calls), max(calls), len(calls) <= 3) == (1_500, 1_000, True)


async def test_a_source_that_was_banned_is_counted_anew(nft: FakeNft, autojump_clock: Any, log: Log) -> None:
    async with observing(NftBan(refusals=3)) as live:
        await live.observe(te.Batch(ended=ends(BAD, 5)))
        await trio.sleep(2)
        await live.observe(te.Batch(ended=ends(BAD, 2, at=2)))
        await trio.sleep(2)
        assert len(nft.applied) == 1
        await live.observe(te.Batch(ended=ends(BAD, 1, at=4)))
        await trio.sleep(2)
        assert len(nft.applied) == 2


async def test_a_failing_nft_is_asked_less_and_less_often_and_then_bans(
    nft: FakeNft, autojump_clock: Any, log: Log
) -> None:
    nft.failures = 4
    async with observing(NftBan(refusals=1)) as live:
        await live.observe(te.Batch(ended=ends(BAD)))
        await trio.sleep(40)
        await live.observe(te.Batch(ended=ends(BAD, at=40)))
        await trio.sleep(9)
    pauses = [later - earlier for earlier, later in zip(nft.called_at, nft.called_at[1:], strict=False)]
    assert [round(pause) for pause in pauses[:4]] == [1, 2, 4, 8]
    assert nft.banned() == [[BAD], [BAD]]
    said = [(line["error"], line["sources"]) for line in log if line["event"] == "nft failed: sources are not banned"]
    assert said == [("denied", 1)] * 4


async def test_a_ban_that_nft_does_not_make_for_a_minute_is_dropped(
    nft: FakeNft, autojump_clock: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft.failures = 6
    live = NftBan(refusals=1).open(make_context())
    monkeypatch.setattr(type(live._context), "now", lambda _: trio.current_time())
    async with trio.open_nursery() as nursery:
        await nursery.start(live.run)
        await live.observe(te.Batch(ended=ends(BAD, at=trio.current_time())))
        await trio.sleep(3_600)
        assert len(nft.called_at) == 6  # after 0, 1, 3, 7, 15 and 31 s, and no more
        assert nft.applied == []
        await live.observe(te.Batch(ended=ends(BAD, at=trio.current_time())))
        await trio.sleep(9)
        assert nft.banned() == [[BAD]]
        nursery.cancel_scope.cancel()


async def test_bans_that_wait_are_bounded(
    nft: FakeNft, autojump_clock: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nft_ban, "MAX_WAITING", 3)
    async with observing(NftBan(refusals=1)) as live:
        await live.observe(te.Batch(ended=[end for number in range(9) for end in ends(f"198.51.100.{number}")]))
        await trio.sleep(2)
        assert nft.banned() == [["198.51.100.0", "198.51.100.1", "198.51.100.2"]]
        await live.observe(te.Batch(ended=ends("198.51.100.8")))
        await trio.sleep(2)
        assert nft.banned()[1:] == [["198.51.100.8"]]


async def test_a_table_of_its_own_is_made_at_the_start_and_again_after_a_failure(
    nft: FakeNft, autojump_clock: Any, log: Log
) -> None:
    async with observing(NftBan(refusals=1, create=True)) as live:
        await trio.sleep(2)
        assert [commands.startswith("add table inet trioedge\n") for commands in nft.applied] == [True]
        await live.observe(te.Batch(ended=ends(BAD)))
        await trio.sleep(2)
        assert nft.applied[1:] == [f"add element inet trioedge banned4 {{ {BAD} timeout 600s }}\n"]
        nft.failures = 1  # as when the ruleset was flushed
        await live.observe(te.Batch(ended=ends("198.51.100.2")))
        await trio.sleep(9)
        assert nft.applied[2].startswith("add table inet trioedge\n")
        assert nft.banned()[2] == ["198.51.100.2"]


async def test_without_create_nothing_is_made_and_nft_is_not_called_before_a_ban(
    nft: FakeNft, autojump_clock: Any, log: Log
) -> None:
    async with observing(NftBan()):
        await trio.sleep(3_600)
    assert nft.called_at == []


async def test_other_tasks_have_their_turn_while_a_large_batch_is_counted(
    nft: FakeNft, autojump_clock: Any, log: Log
) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with observing(NftBan()) as live, trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await live.observe(te.Batch(ended=ends(BAD, 1_000)))
        assert turns >= 5  # of ten
        nursery.cancel_scope.cancel()


async def test_an_edge_has_sources_banned_that_its_gate_refuses(nft: FakeNft, autojump_clock: Any, log: Log) -> None:
    edge = te.Edge(
        "tcp://127.0.0.1:6380",
        [te.SessionGate(rate=1, burst=2, per="source")],
        te.Forward("tcp://192.0.2.9:6379"),
        observers=[NftBan(refusals=5)],
    )
    async with open_edge(edge) as world:
        for _ in range(6):
            await (await world.connect("198.51.100.7")).close()
        await trio.sleep(2)
        assert nft.applied == []
        for _ in range(4):
            await (await world.connect(BAD)).close()
            await world.connect("198.51.100.7")
        await trio.sleep(2)
        assert nft.banned() == [["198.51.100.7"]]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"refusals": 0}, "NftBan(refusals=0) must be a whole number from 1 to 2147483648"),
        ({"refusals": True}, "NftBan(refusals=True) must be a whole number from 1 to 2147483648"),
        ({"seconds": 0}, "NftBan(seconds=0) must be a number above 0"),
        ({"seconds": float("nan")}, "NftBan(seconds=nan) must be a number above 0"),
        ({"timeout_seconds": 0.5}, "NftBan(timeout_seconds=0.5) must be a whole number from 1 to 31536000"),
        ({"capacity": 0}, "NftBan(capacity=0) must be a whole number from 1 to 2147483648"),
        ({"create": "yes"}, "NftBan(create='yes') must be true or false"),
        ({"program": "n\0"}, "NftBan(program='n\\x00') must be the name or the path of nft"),
        ({"program": ""}, "NftBan(program='') must be the name or the path of nft"),
        ({"table": "x; flush ruleset"}, "NftBan(table='x; flush ruleset') must be a name of letters, digits and _, as in 'banned4'"),  # noqa: E501
        ({"set_ipv4": ""}, "NftBan(set_ipv4='') must be a name of letters, digits and _, as in 'banned4'"),
        ({"set_ipv6": "6"}, "NftBan(set_ipv6='6') must be a name of letters, digits and _, as in 'banned4'"),
        ({"set_ipv4": "one", "set_ipv6": "one"}, "NftBan(set_ipv4=, set_ipv6=) must be two sets, neither called ports"),
        ({"set_ipv4": "ports"}, "NftBan(set_ipv4=, set_ipv6=) must be two sets, neither called ports"),
        (
            {"create": True, "table": "filter"},
            (
                "NftBan(create=True, table='filter') would change a table of yours: leave table out, for the table "
                "inet trioedge; or make the sets in yours, and leave create out"
            ),
        ),
        ({"reasons": "rate"}, "NftBan(reasons='rate') must be a list, as in ['rate', 'credentials']"),
        ({"reasons": ["speed"]}, "NftBan(reasons): 'speed' is no reason: see docs/reference/reasons.md"),
        ({"reasons": [7]}, "NftBan(reasons): 7 is no reason: see docs/reference/reasons.md"),
        ({"reasons": []}, "NftBan(reasons=[]) would ban no source: write at least one, as in ['rate']"),
        ({"allow": ["home"]}, "NftBan(allow): 'home' is no address and no prefix: write 192.0.2.7 or 10.0.0.0/8"),
    ],
)  # fmt: skip
def test_an_argument_that_cannot_work_is_refused(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(te.ConfigurationError) as raised:
        NftBan(**arguments)
    assert str(raised.value) == fault


def test_a_missing_program_keeps_the_edge_from_starting() -> None:
    with pytest.raises(te.ConfigurationError, match="there is no program 'nft-of-another-world'"):
        NftBan(program="nft-of-another-world").open(make_context())


def test_it_is_written_with_its_limit() -> None:
    assert repr(NftBan(refusals=5, seconds=10, timeout_seconds=60)) == "NftBan(5 in 10 s, for 60 s)"


def test_the_capability_is_named() -> None:
    assert NftBan.needs_capabilities == ("CAP_NET_ADMIN",)


def test_every_argument_has_words_in_the_reference() -> None:
    words = inspect.getdoc(NftBan.__init__) or ""
    for name in list(inspect.signature(NftBan).parameters):
        assert f"\n    {name}: " in words
