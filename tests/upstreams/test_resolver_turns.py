"""How the names of several services share the queries: the resolver with its queue, under the fake clock."""

import socket
from itertools import pairwise

import pytest
import trio
import trio.testing

from tests.support.resolvers import CountingNames, asked_by, running
from trioedge.addresses.address import Address
from trioedge.session.verdict import Reason
from trioedge.upstreams import resolver as resolver_module
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.query_queue import PLACES
from trioedge.upstreams.resolver import QUERY_SECONDS, max_queries


@pytest.mark.parametrize("askers", [1, 8, 200])
@pytest.mark.parametrize("silent", [64, 200, 1000])
async def test_names_whose_servers_are_silent_do_not_delay_new_names_of_other_services(
    silent: int, askers: int, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "max_queries", lambda: 512)
    names = CountingNames()
    async with running(names) as run:
        for second in range(12):  # they are asked for again and again
            asked_by(run, askers, (f"slow.{number}" for number in range(silent)))
            began_at = trio.current_time()
            others = asked_by(run, 1, (f"quick.{second}.{number}" for number in range(30)), "another service")
            while not all(others):
                await trio.sleep(0.05)
            assert not any(isinstance(answer, UpstreamError) for (answer,) in others)
            assert trio.current_time() - began_at < 1, second
            await trio.sleep(1)
        assert names.max_now <= 512


@pytest.mark.parametrize("silent", [64, 200])
async def test_silent_names_do_not_delay_new_names_of_their_own_service_either(
    silent: int, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "max_queries", lambda: 512)
    async with running(CountingNames()) as run:
        for second in range(6):
            asked_by(run, 1, (f"slow.{number}" for number in range(silent)))
            began_at = trio.current_time()
            others = asked_by(run, 1, (f"quick.{second}.{number}" for number in range(30)))
            while not all(others):
                await trio.sleep(0.05)
            assert trio.current_time() - began_at < 1.5
            await trio.sleep(1)


async def test_the_time_of_a_query_counts_from_its_start(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "max_queries", lambda: 4)
    names = CountingNames()
    async with running(names) as run:
        asked_by(run, 8, (f"slow.{number}" for number in range(8)))
        await trio.sleep(0.1)
        names.answers["late"] = ["192.0.2.1"]
        (late,) = asked_by(run, 1, ["late.test"])
        await trio.sleep(2 * QUERY_SECONDS - 0.2)
        assert late == []
        await trio.sleep(0.2)
        assert late == [((socket.AF_INET, ("192.0.2.1", 1)),)]
        assert names.max_now == 4


async def test_only_one_query_begins_in_each_turn_of_the_loop() -> None:
    names = CountingNames()
    async with running(names) as run:
        for number in range(PLACES):
            run.ask(Address("tcp", f"slow.{number}", 1))
        begun = [0]
        while begun[-1] < PLACES:
            await trio.lowlevel.checkpoint()
            begun.append(len(names.asked))
        assert max(now - before for before, now in pairwise(begun)) <= 2  # the order within a turn is Trio's


def test_the_most_queries_follow_from_the_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, queries in ((1, 1), (1024, 128), (1_048_576, 512)):
        monkeypatch.setattr("resource.getrlimit", lambda _, files=files: (files, files))
        assert max_queries() == queries


async def test_one_asker_may_have_a_quarter_of_the_names_that_are_queried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "CAPACITY", 16)
    async with running(CountingNames()) as run:
        refused = [each for each in asked_by(run, 1, (f"slow.{number}" for number in range(6))) if each]
        assert len(refused) == 2
        for (answer,) in refused:
            assert isinstance(answer, UpstreamError)
            assert answer.reason is Reason.CAPACITY
        assert asked_by(run, 1, ["slow.other"], "other") == [[]]
