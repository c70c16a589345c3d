import socket
from itertools import pairwise
from math import inf
from pathlib import Path

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.support.names import NO_HOSTS, FakeNames
from tests.support.resolvers import REDIS, CountingNames, Run, asked_by, running
from trioedge.addresses.address import Address, parse_address
from trioedge.loop.reactor import Reactor
from trioedge.session.verdict import Reason
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams import hosts_file
from trioedge.upstreams import resolver as resolver_module
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.hosts_file import HostsFile
from trioedge.upstreams.lookup import Absent, Failed, Found, Lookup
from trioedge.upstreams.query_queue import PLACES
from trioedge.upstreams.resolver import (
    ADDRESSES,
    FAILED_SECONDS,
    HOSTS_SECONDS,
    MAX_ABSENT_SECONDS,
    MAX_SECONDS,
    MIN_SECONDS,
    QUERY_SECONDS,
    STALE_ANSWER_SECONDS,
    STALE_SECONDS,
    Answer,
)

FOUND = Found(("192.0.2.1",), 30.0)
ANSWER = ((socket.AF_INET, ("192.0.2.1", 6379)),)


class Strange(BaseException):
    """No Exception: a guard must hold this back as well."""


def reason(answer: Answer) -> Reason:
    assert isinstance(answer, UpstreamError)
    return answer.reason


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("tcp://192.0.2.1:80", [(socket.AF_INET, ("192.0.2.1", 80))]),
        ("tcp://[2001:db8::1]:80", [(socket.AF_INET6, ("2001:db8::1", 80))]),
        ("unix:///run/x.sock", [(socket.AF_UNIX, "/run/x.sock")]),
        ("tcp://localhost:80", [(socket.AF_INET, ("127.0.0.1", 80)), (socket.AF_INET6, ("::1", 80))]),
        ("tcp://a.b.localhost.:80", [(socket.AF_INET, ("127.0.0.1", 80)), (socket.AF_INET6, ("::1", 80))]),
    ],
)
async def test_addresses_and_localhost_are_answered_at_once_and_not_cached(address: str, known: object) -> None:
    run = Run(FakeNames())  # no worker runs, so an answer that waited for one would never come
    for _ in range(2):
        (answer,) = run.ask(parse_address(address))
        assert list(answer) == known  # type: ignore[arg-type]
    assert len(run.resolver) == 0


async def test_localhost_must_be_the_whole_last_label() -> None:
    run = Run(FakeNames())
    assert run.ask(Address("tcp", "notlocalhost", 80)) == []
    assert run.ask(Address("tcp", "localhost.test", 80)) == []


async def test_families_take_turns_beginning_with_that_of_the_first_address() -> None:
    async with running(FakeNames(redis=["2001:db8::1", "2001:db8::2", "192.0.2.1"])) as run:
        answer = await run.answer()
    assert not isinstance(answer, UpstreamError)
    assert answer == (
        (socket.AF_INET6, ("2001:db8::1", 6379)),
        (socket.AF_INET, ("192.0.2.1", 6379)),
        (socket.AF_INET6, ("2001:db8::2", 6379)),
    )


async def test_sessions_that_ask_for_one_name_at_once_cause_one_query_for_all_their_ports() -> None:
    async with running(FakeNames(redis=["192.0.2.1"])) as run:
        asked = [(port, run.ask(Address("tcp", "redis.test", port))) for port in range(1, 51)]
        await trio.testing.wait_all_tasks_blocked()
        for port, answers in asked:
            assert answers == [((socket.AF_INET, ("192.0.2.1", port)),)]
        assert run.names.asked == ["redis.test"]
        assert len(run.resolver) == 1


async def test_the_answer_for_one_port_stays_the_same_object_when_it_is_renewed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(FakeNames(redis=["192.0.2.1"])) as run:
        first = await run.answer()
        assert run.ask()[0] is first
        await trio.sleep(31)
        assert await run.answer() is first
        assert run.ask()[0] is first
        assert len(run.names.asked) == 2


async def test_of_very_many_addresses_a_few_of_both_families_are_kept() -> None:
    hosts = [f"192.0.2.{number}" for number in range(200)] + [f"2001:db8::{number}" for number in range(1, 200)]
    async with running(FakeNames(redis=hosts)) as run:
        answer = await run.answer()
    assert isinstance(answer, tuple)
    assert len(answer) == ADDRESSES
    assert {family for family, _ in answer} == {socket.AF_INET, socket.AF_INET6}


@pytest.mark.parametrize(
    ("lookup", "seconds"),
    [
        (Found(("192.0.2.1",), 0), MIN_SECONDS),
        (Found(("192.0.2.1",), 30), 30),
        (Found(("192.0.2.1",), 1e9), MAX_SECONDS),
        (Absent("no such name", 0), MIN_SECONDS),
        (Absent("no such name", 30), 30),
        (Absent("no such name", 1e9), MAX_ABSENT_SECONDS),
        (Failed("SERVFAIL"), FAILED_SECONDS),
    ],
)
async def test_an_outcome_is_cached_for_its_time_to_live_within_bounds(
    lookup: Lookup, seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(FakeNames(redis=lookup)) as run:
        first = await run.answer()
        assert isinstance(first, UpstreamError) != isinstance(lookup, Found)
        await trio.sleep(seconds * 0.89)
        assert len(run.ask()) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert len(run.names.asked) == 1
        await trio.sleep(seconds * 0.12)
        await run.answer()
        assert len(run.names.asked) == 2


MOVED = ((socket.AF_INET, ("192.0.2.2", 6379)),)


async def test_an_address_that_moved_while_its_name_was_not_asked_for_is_found_by_the_first_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(FakeNames(redis=["192.0.2.1"])) as run:
        assert await run.answer() == ANSWER
        run.names.answers["redis"] = ["192.0.2.2"]
        await trio.sleep(31)
        waiting = [run.ask() for _ in range(3)]
        assert waiting == [[], [], []]
        await trio.testing.wait_all_tasks_blocked()
        assert waiting == [[MOVED]] * 3
        assert len(run.names.asked) == 2


async def test_a_name_that_is_asked_for_all_the_time_is_renewed_before_it_expires_and_no_session_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(FakeNames(redis=["192.0.2.1"])) as run:
        await run.answer()
        for second in range(120):
            if second == 60:
                run.names.answers["redis"] = ["192.0.2.2"]
            await trio.sleep(1)
            assert len(run.ask()) == 1
            await trio.testing.wait_all_tasks_blocked()
        assert run.ask() == [MOVED]
        assert len(run.names.asked) == 1 + 120 // 27


@pytest.mark.parametrize("failing", [Failed("SERVFAIL"), None])
async def test_an_expired_answer_is_used_when_the_query_fails_or_takes_longer_than_1_8_seconds(
    failing: Lookup | None, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(FakeNames(redis=["192.0.2.1"])) as run:
        await run.answer()
        run.names.answers["redis"] = failing
        await trio.sleep(31)
        first = run.ask()
        await trio.sleep(STALE_ANSWER_SECONDS - 0.01)
        assert first == ([] if failing is None else [ANSWER])
        if failing is None:
            second = run.ask()
            assert second == []
            await trio.sleep(0.02)
            assert (first, second) == ([ANSWER], [ANSWER])
            assert run.ask() == [ANSWER], "the query is late, so no further session waits for it"
        assert len(run.names.asked) == 2


@pytest.mark.parametrize("failing", [Failed("SERVFAIL"), None])
async def test_an_expired_answer_is_used_at_once_for_a_day_while_the_servers_fail(
    failing: Lookup | None, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(FakeNames(redis=["192.0.2.1"])) as run:
        await run.answer()
        run.names.answers["redis"] = failing
        await trio.sleep(31)
        run.ask()
        await trio.sleep(QUERY_SECONDS)
        for failures in range(1, 4):
            assert run.ask() == [ANSWER]
            await trio.sleep(FAILED_SECONDS * 2 ** (failures - 1) + 0.01)
            assert run.ask() == [ANSWER]
            await trio.sleep(QUERY_SECONDS)
            assert len(run.names.asked) == 2 + failures
        await trio.sleep(STALE_SECONDS - 120)
        assert run.ask() == [ANSWER]
        await trio.sleep(120)
        answers = run.ask()
        assert answers == []
        await trio.sleep(QUERY_SECONDS + 0.1)
        assert reason(answers[0]) is Reason.UPSTREAM_UNRESOLVED


async def test_a_negative_answer_replaces_an_expired_one(autojump_clock: trio.testing.MockClock) -> None:
    async with running(FakeNames(redis=["192.0.2.1"])) as run:
        await run.answer()
        await trio.sleep(31)
        run.names.answers["redis"] = Absent("no such name", 30)
        assert reason(await run.answer()) is Reason.UPSTREAM_UNRESOLVED


async def test_the_pauses_of_a_name_that_fails_double_up_to_half_a_minute_and_begin_anew_after_an_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def pauses(count: int) -> list[float]:
        """Ask ten times a second, and give the times between queries."""
        before, at = len(run.names.asked), list[float]()
        while len(at) <= count:
            run.ask()
            await trio.testing.wait_all_tasks_blocked()
            if len(run.names.asked) > before:
                before = len(run.names.asked)
                at.append(trio.current_time())
            await trio.sleep(0.1)
        return [round(later - earlier, 1) for earlier, later in pairwise(at)]

    async with running(FakeNames(redis=Failed("SERVFAIL"))) as run:
        for measured, pause in zip(await pauses(7), [1, 2, 4, 8, 16, 30, 30], strict=True):
            assert pause <= measured <= pause + 0.2
        run.names.answers["redis"] = Absent("no such name", 1)
        await trio.sleep(31)
        await run.answer()
        run.names.answers["redis"] = Failed("SERVFAIL")
        await trio.sleep(2)
        assert (await pauses(1))[0] <= FAILED_SECONDS + 0.2


async def test_a_failure_is_cached_briefly_and_then_the_next_session_waits_for_a_query(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(FakeNames(redis=Failed("SERVFAIL"))) as run:
        for _ in range(3):
            answer = await run.answer()
            assert reason(answer) is Reason.UPSTREAM_UNRESOLVED
            assert str(answer).endswith("tcp://redis.test:6379: SERVFAIL")
        assert len(run.names.asked) == 1
        run.names.answers["redis"] = ["192.0.2.1"]
        await trio.sleep(FAILED_SECONDS)
        assert await run.answer() == ANSWER


async def test_the_time_until_which_an_answer_is_fresh(autojump_clock: trio.testing.MockClock) -> None:
    async with running(FakeNames(redis=["192.0.2.1"])) as run:
        assert run.resolver.fresh_until(REDIS) == 0
        await run.answer()
        assert run.resolver.fresh_until(REDIS) == 30
        assert run.resolver.fresh_until(parse_address("tcp://192.0.2.1:80")) == inf


async def test_each_session_gets_a_new_exception_with_its_own_destination() -> None:
    async with running(FakeNames(redis=Absent("no such name", 30))) as run:
        answers = [run.ask(), run.ask(), run.ask(Address("tcp", "redis.test", 1))]
        await trio.testing.wait_all_tasks_blocked()
        answers.append(run.ask())
        errors = [answer for (answer,) in answers]
        assert len({id(error) for error in errors}) == 4
        assert [str(error).rpartition(": ")[0].rpartition(":")[2] for error in errors] == ["6379", "6379", "1", "6379"]


async def test_the_hosts_file_comes_before_the_servers_and_is_read_again_when_it_changes(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "hosts"
    path.write_text("192.0.2.1 redis.test\n")
    async with running(FakeNames(redis=["192.0.2.9"]), path) as run:
        assert await run.answer() == ANSWER
        path.write_text("192.0.2.77 redis.test\n")
        mock_clock.jump(HOSTS_SECONDS)
        answers = run.ask()
        mock_clock.rate = 1  # for the thread that reads
        with trio.fail_after(2):
            while not answers:
                await trio.sleep(0.002)
        assert run.ask() == [((socket.AF_INET, ("192.0.2.77", 6379)),)]
        assert run.names.asked == []


async def test_at_capacity_the_least_recently_used_name_is_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "CAPACITY", 3)
    names = FakeNames(a=["192.0.2.1"], b=["192.0.2.2"], c=["192.0.2.3"], d=["192.0.2.4"])
    async with running(names) as run:
        for name in "abcad":
            await run.answer(Address("tcp", name, 1))
        assert len(run.resolver) == 3
        for name in "acd":
            assert len(run.ask(Address("tcp", name, 1))) == 1
        assert run.ask(Address("tcp", "b", 1)) == []


async def test_at_capacity_queries_under_way_go_on_and_further_names_are_refused(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(resolver_module, "CAPACITY", 3)
    names = FakeNames(slow=None, quick=["192.0.2.1"])
    async with running(names) as run:
        waiting = asked_by(run, 2, ["slow.0", "slow.1"])
        for number in range(5):
            await run.answer(Address("tcp", f"quick.{number}", 1))
        last = run.ask(Address("tcp", "slow.2", 1))
        assert last == []
        (refused,) = run.ask(Address("tcp", "slow.3", 1))
        assert reason(refused) is Reason.CAPACITY
        assert run.ask(Address("tcp", "quick.4", 1))  # this one is in memory
        also = run.ask(Address("tcp", "slow.1", 2))  # a name that is being queried takes more callers
        await trio.sleep(QUERY_SECONDS + 0.1)
        for (answer,) in [*waiting, last, also]:
            assert reason(answer) is Reason.UPSTREAM_UNRESOLVED
        assert len(run.resolver) == 3


async def test_a_stale_answer_is_used_even_if_no_further_query_is_possible(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(FakeNames(redis=["192.0.2.1"], slow=None)) as run:
        await run.answer()
        await trio.sleep(31)
        monkeypatch.setattr(resolver_module, "CAPACITY", 1)
        run.ask(Address("tcp", "slow", 1))
        assert run.ask() == [ANSWER]
        await trio.sleep(QUERY_SECONDS + 0.1)
        assert len(run.names.asked) == 2


async def test_a_callback_may_ask_for_another_name() -> None:
    async with running(FakeNames(redis=["192.0.2.1"], other=["192.0.2.2"])) as run:
        other: list[Answer] = []
        where = Address("tcp", "other.test", 1)
        run.resolver.ask(REDIS, lambda answer: run.resolver.ask(where, other.append))
        await trio.testing.wait_all_tasks_blocked()
        assert other == [((socket.AF_INET, ("192.0.2.2", 1)),)]


async def test_a_callback_that_raises_is_logged_and_the_others_are_called() -> None:
    def wrong(answer: Answer) -> None:
        raise Strange("no address for you")

    async with running(FakeNames(redis=["192.0.2.1"], other=["192.0.2.2"])) as run:
        with capture_logs() as logs:
            run.resolver.ask(REDIS, wrong)
            answers = run.ask()
            await trio.testing.wait_all_tasks_blocked()
        assert answers == [ANSWER]
        assert await run.answer(Address("tcp", "other.test", 1)) == ((socket.AF_INET, ("192.0.2.2", 1)),)
    assert [(line["event"], line["upstream"]) for line in logs] == [
        ("resolver: a callback failed", "tcp://redis.test:6379")
    ]


async def test_a_callback_that_raises_ends_a_resolver_without_a_log() -> None:
    def wrong(answer: Answer) -> None:
        raise Strange("no address for you")

    resolver = resolver_module.Resolver(Reactor(EdgeLog()), FakeNames(redis=["192.0.2.1"]), HostsFile(NO_HOSTS))
    with pytest.RaisesGroup(pytest.RaisesGroup(Strange)):
        async with trio.open_nursery() as nursery:
            await nursery.start(resolver.run)
            resolver.ask(REDIS, wrong)


async def test_a_cancel_ends_every_query_and_calls_no_caller() -> None:
    names = CountingNames()
    async with running(names) as run:
        answers = [run.ask(Address("tcp", f"slow.{number}", 1)) for number in range(2 * PLACES)]
        await trio.testing.wait_all_tasks_blocked()
        assert names.now == PLACES
    assert names.now == 0
    assert not any(answers)


async def test_a_cancel_ends_an_idle_resolver() -> None:
    async with running(FakeNames()) as run:
        await trio.testing.wait_all_tasks_blocked()
    assert run.names.asked == []


async def test_a_cancel_while_the_hosts_file_is_read_waits_for_the_read_and_sends_no_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reads = hosts_file._read, list[str]()

    def cancelled(path: Path) -> dict[str, tuple[str, ...]]:
        trio.from_thread.run_sync(scope.cancel)
        reads.append("begun")
        found = read(path)
        reads.append("done")
        return found

    path = tmp_path / "hosts"
    with trio.CancelScope() as scope:
        async with running(FakeNames(), path) as run:
            monkeypatch.setattr(hosts_file, "_read", cancelled)
            path.write_text("192.0.2.1 db.test\n")
            run.ask()
            await trio.sleep(5)
    assert scope.cancelled_caught
    assert (reads, run.names.asked) == (["begun", "done"], [])
    assert run.resolver._hosts.addresses("db.test") == ("192.0.2.1",)
