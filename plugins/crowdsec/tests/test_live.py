"""A whole edge with the stage, and a local API in memory, under a fake clock."""

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog
import trio
import trioedge as te
from cancels import cancel_at_every_step, left_open
from fake_lapi import KEY, FakeLapi, Rehearsed, in_pieces
from trio.testing import MockClock
from trioedge.testing import Client, Rehearsal, check_decision, make_context, make_session, open_edge

from trioedge_crowdsec import live as module
from trioedge_crowdsec.bans import Bans
from trioedge_crowdsec.lapi import ANSWER_SECONDS
from trioedge_crowdsec.live import MAX_RETRY_SECONDS

BANNED = te.Reject(te.Reason.SOURCE, "crowdsec: ban by crowdsecurity/ssh-bf")


class World:
    """An edge in memory, its local API, and what it logs."""

    def __init__(self, rehearsal: Rehearsal, lapi: FakeLapi, lines: list[Any]) -> None:
        self.rehearsal, self.lapi, self.lines = rehearsal, lapi, lines

    async def connect(self, source: str) -> Client:
        return await self.rehearsal.connect(source)

    async def outcome(self, source: str) -> te.Outcome | None:
        client = await self.connect(source)
        outcome = client.outcome
        await client.close()
        return outcome

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines if line["event"].startswith("crowdsec")]


@asynccontextmanager
async def world(lapi: FakeLapi, **options: Any) -> AsyncIterator[World]:
    edge = te.Edge("tcp://127.0.0.1:1", [Rehearsed(lapi, **options)], te.Forward("tcp://192.0.2.200:1"))
    with structlog.testing.capture_logs() as lines:
        async with open_edge(edge) as rehearsal:
            await trio.sleep(0.001)
            yield World(rehearsal, lapi, lines)


async def test_a_banned_source_is_refused_and_others_are_served(autojump_clock: MockClock) -> None:
    lapi = FakeLapi()
    lapi.ban("192.0.2.7")
    lapi.ban("198.51.100.0/24")
    lapi.ban("2001:db8:7::/48")
    async with world(lapi) as edge:
        for source in ("192.0.2.7", "198.51.100.99", "2001:db8:7:1::1"):
            assert await edge.outcome(source) == BANNED
        for source in ("192.0.2.8", "198.51.101.1", "2001:db8:8::1", "unix"):
            client = await edge.connect(source)
            await client.send(b"ping")
            assert await client.receive(4) == b"ping"
        assert edge.events() == ["crowdsec answers"]


async def test_changes_are_asked_for_every_poll_seconds_and_applied(autojump_clock: MockClock) -> None:
    lapi = FakeLapi()
    async with world(lapi, poll_seconds=10) as edge:
        first, second = lapi.ban("192.0.2.7"), lapi.ban("192.0.2.7", type="BAN")
        assert await edge.outcome("192.0.2.7") is None
        await trio.sleep(10)
        assert await edge.outcome("192.0.2.7") == BANNED
        lapi.delete(first)
        await trio.sleep(10)
        assert await edge.outcome("192.0.2.7") == BANNED
        lapi.delete(second)
        await trio.sleep(10)
        assert await edge.outcome("192.0.2.7") is None
    assert [startup for _, startup in lapi.requests] == [True, False, False, False]
    assert [round(at) for at, _ in lapi.requests] == [0, 10, 20, 30]


async def test_a_new_ban_cuts_the_live_sessions_of_its_sources_and_no_others(autojump_clock: MockClock) -> None:
    lapi = FakeLapi()
    async with world(lapi) as edge:
        sources = ["192.0.2.7", "192.0.2.8", "198.51.100.5", "2001:db8::5", "2001:db8::6", "unix"]
        clients = {source: await edge.connect(source) for source in sources}
        again = await edge.connect("192.0.2.7")
        lapi.ban("192.0.2.7")
        lapi.ban("2001:db8::5")
        await trio.sleep(11)
        cut = te.Completed(te.Reason.SOURCE, BANNED.detail)
        assert await again.ended() == cut
        ended = {source: client.outcome for source, client in clients.items()}
        assert ended == dict.fromkeys(sources) | {"192.0.2.7": cut, "2001:db8::5": cut}
        lapi.ban("198.51.100.0/24")
        await trio.sleep(11)
        assert clients["198.51.100.5"].outcome == cut
        assert clients["192.0.2.8"].outcome is None
        assert edge.events().count("crowdsec cut sessions") == 2
        assert [line["sessions"] for line in edge.lines if "sessions" in line] == [3, 1]


async def test_the_first_answer_cuts_banned_sessions_that_came_before_it(autojump_clock: MockClock) -> None:
    lapi = FakeLapi()
    lapi.fault = down
    async with world(lapi) as edge:
        client, other = await edge.connect("192.0.2.7"), await edge.connect("192.0.2.8")
        lapi.ban("192.0.2.7")
        lapi.fault = None
        await trio.sleep(3)
        assert client.outcome == te.Completed(te.Reason.SOURCE, BANNED.detail)
        assert other.outcome is None


async def test_a_ban_of_an_answer_that_is_cut_off_cuts_the_live_sessions_of_its_source(
    autojump_clock: MockClock,
) -> None:
    lapi = FakeLapi()
    async with world(lapi) as edge:
        client = await edge.connect("192.0.2.77")
        lapi.fault = cut_off
        await trio.sleep(11)
        assert client.outcome == te.Completed(te.Reason.SOURCE, "crowdsec: ban")


async def test_a_session_that_cannot_be_cut_costs_no_other(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lapi = FakeLapi()
    async with world(lapi) as edge:
        first, second = await edge.connect("192.0.2.7"), await edge.connect("192.0.2.7")
        cut = te.Session.cut

        def odd(self: te.Session, reason: te.Reason, detail: str = "") -> bool:
            if self is first.session:
                raise ZeroDivisionError("odd")
            return cut(self, reason, detail)

        monkeypatch.setattr(te.Session, "cut", odd)
        lapi.ban("192.0.2.7")
        await trio.sleep(22)
        assert (first.outcome, second.outcome) == (None, te.Completed(te.Reason.SOURCE, BANNED.detail))
        assert edge.events() == ["crowdsec answers", "crowdsec cut failed", "crowdsec cut sessions"]
        assert len(lapi.requests) == 3


async def test_live_sessions_stay_where_cut_live_is_off(autojump_clock: MockClock) -> None:
    lapi = FakeLapi()
    async with world(lapi, cut_live=False) as edge:
        client = await edge.connect("192.0.2.7")
        lapi.ban("192.0.2.7")
        await trio.sleep(11)
        assert client.outcome is None
        assert await edge.outcome("192.0.2.7") == BANNED


async def test_a_new_ban_of_a_single_address_does_not_look_at_all_sessions(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lapi = FakeLapi()
    async with world(lapi) as edge:
        clients = [await edge.connect(f"192.0.2.{last}") for last in range(1, 30)]
        judged = list[bytes]()
        judge = Bans.judge

        def counted(self: Bans, source: bytes, now: float) -> te.Verdict:
            judged.append(source)
            return judge(self, source, now)

        monkeypatch.setattr(Bans, "judge", counted)
        lapi.ban("192.0.2.7")
        await trio.sleep(11)
        assert judged == [bytes([192, 0, 2, 7])]
        assert clients[6].outcome is not None


async def down() -> httpx.Response:
    raise httpx.ConnectError("connection refused")


async def broken() -> httpx.Response:
    return httpx.Response(500)


async def silent() -> httpx.Response:
    await trio.sleep_forever()
    raise AssertionError  # never


async def nonsense() -> httpx.Response:
    return httpx.Response(200, content=in_pieces("<html>busy</html>"))


async def cut_off() -> httpx.Response:
    one = {"id": 77, "type": "ban", "scope": "Ip", "value": "192.0.2.77", "duration": "4h"}
    return httpx.Response(200, content=in_pieces(f'{{"new":[{json.dumps(one)},{{"id"'))


FAULTS = [down, broken, silent, nonsense, cut_off]


@pytest.mark.parametrize("fault", FAULTS)
async def test_while_there_is_no_good_answer_bans_stay_until_their_ends(autojump_clock: MockClock, fault: Any) -> None:
    lapi = FakeLapi()
    lapi.ban("192.0.2.7", seconds=3600)
    lapi.ban("192.0.2.8", seconds=36_000)
    async with world(lapi) as edge:
        lapi.fault = fault
        await trio.sleep(3500)
        assert await edge.outcome("192.0.2.7") == BANNED
        await trio.sleep(100)
        assert await edge.outcome("192.0.2.7") is None
        assert await edge.outcome("192.0.2.8") == BANNED
        assert await edge.outcome("192.0.2.9") is None
        assert edge.events() == ["crowdsec answers", "crowdsec failed"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_after_a_fault_all_decisions_are_asked_for(autojump_clock: MockClock, fault: Any) -> None:
    lapi = FakeLapi()
    first = lapi.ban("192.0.2.7")
    async with world(lapi) as edge:
        lapi.fault = fault
        await trio.sleep(60)
        lapi.delete(first)
        lapi.ban("192.0.2.8")
        lapi._new.clear()  # the local API believes that its answer arrived
        lapi._deleted.clear()
        lapi.fault = None
        lapi.requests.clear()
        await trio.sleep(MAX_RETRY_SECONDS + ANSWER_SECONDS + 12)
        assert await edge.outcome("192.0.2.7") is None
        assert await edge.outcome("192.0.2.8") == BANNED
        assert [startup for _, startup in lapi.requests][:2] == [True, False]
        assert edge.events() == ["crowdsec answers", "crowdsec failed", "crowdsec answers"]


async def test_pauses_after_faults_double_up_to_half_a_minute_and_begin_anew_after_an_answer(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: (low, high)[1])
    lapi = FakeLapi()
    lapi.fault = down
    async with world(lapi):
        await trio.sleep(119)
        assert [round(at) for at, _ in lapi.requests] == [0, 2, 6, 14, 30, 60, 90]
        lapi.fault = None
        await trio.sleep(5)
        lapi.fault = down
        lapi.requests.clear()
        await trio.sleep(10)
        assert [round(at) for at, _ in lapi.requests] == [130, 132]


@pytest.mark.parametrize(("until_ready", "outcome"), [("accept", None), ("reject", module._NOT_YET)])
async def test_before_the_first_answer_until_ready_decides(
    autojump_clock: MockClock, until_ready: Any, outcome: te.Outcome | None
) -> None:
    lapi = FakeLapi()
    lapi.fault = down
    lapi.ban("192.0.2.7")
    async with world(lapi, until_ready=until_ready) as edge:
        assert await edge.outcome("192.0.2.7") == outcome
        assert await edge.outcome("192.0.2.8") == outcome
        lapi.fault = None
        await trio.sleep(3)
        assert await edge.outcome("192.0.2.7") == BANNED
        assert await edge.outcome("192.0.2.8") is None
        lapi.fault = down
        await trio.sleep(1000)
        assert await edge.outcome("192.0.2.8") is None


async def test_a_silent_local_api_delays_the_start_of_no_edge(autojump_clock: MockClock) -> None:
    lapi = FakeLapi()
    lapi.fault = silent
    async with world(lapi) as edge:
        assert await edge.outcome("192.0.2.7") is None
        assert trio.current_time() < 0.1


async def test_a_refused_key_is_one_line_that_has_no_key(autojump_clock: MockClock) -> None:
    lapi = FakeLapi()
    lapi.key = "another"
    lapi.ban("192.0.2.7")
    async with world(lapi) as edge:
        await trio.sleep(600)
        assert edge.events() == ["crowdsec failed"]
        assert "cscli bouncers add" in edge.lines[-1]["error"]
        assert KEY not in str(edge.lines)
        assert 20 < len(lapi.requests) < 60


async def test_a_key_in_a_file_is_read_for_each_request(autojump_clock: MockClock, tmp_path: Any) -> None:
    file = tmp_path / "key"
    file.write_text("old\n")
    lapi = FakeLapi()
    lapi.ban("192.0.2.7")
    async with world(lapi, key=te.Secret(file=file)) as edge:
        assert await edge.outcome("192.0.2.7") is None
        file.unlink()
        await trio.sleep(60)
        file.write_text(f"{KEY}\n")
        await trio.sleep(60)
        assert await edge.outcome("192.0.2.7") == BANNED
        assert edge.events() == ["crowdsec failed", "crowdsec failed", "crowdsec answers"]


async def test_all_decisions_are_asked_for_after_many_changes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHANGES", 4)
    lapi = FakeLapi()
    async with world(lapi, poll_seconds=1):
        await trio.sleep(12)
    assert [number for number, (_, startup) in enumerate(lapi.requests) if startup] == [0, 5, 10]


@pytest.mark.parametrize("first_id", [1, 1000])
async def test_a_local_api_with_a_new_database_is_asked_for_all_at_once(
    autojump_clock: MockClock, first_id: int
) -> None:
    lapi = FakeLapi(first_id)
    lapi.ban("192.0.2.7")
    lapi.ban("192.0.2.8")
    async with world(lapi) as edge:
        lapi.begin_anew()
        lapi.ban("192.0.2.9")
        await trio.sleep(11)
        assert await edge.outcome("192.0.2.7") is None
        assert await edge.outcome("192.0.2.8") is None
        assert await edge.outcome("192.0.2.9") == BANNED
        await trio.sleep(10)
    assert [startup for _, startup in lapi.requests] == [True, False, True, False]


async def test_decisions_that_are_left_out_are_named_once_for_each_reason(autojump_clock: MockClock) -> None:
    lapi = FakeLapi()
    for number in range(3):
        lapi.ban("FR", scope="Country")
        lapi.ban(f"host-{number}")
    lapi.ban("192.0.2.7")
    async with world(lapi) as edge:
        lapi.ban("192.0.2.8", type="captcha")
        lapi.ban("DE", scope="Country")
        await trio.sleep(11)
        assert await edge.outcome("192.0.2.7") == BANNED
        assert await edge.outcome("192.0.2.8") is None
        said = [line["why"] for line in edge.lines if line["event"] == "crowdsec decisions ignored"]
        assert said == ["scope", "value", "type"]


async def test_other_types_are_refused_where_they_are_named(autojump_clock: MockClock) -> None:
    lapi = FakeLapi()
    lapi.ban("192.0.2.8", type="captcha")
    async with world(lapi, types=["ban", "Captcha"]) as edge:
        outcome = await edge.outcome("192.0.2.8")
        assert outcome == te.Reject(te.Reason.SOURCE, "crowdsec: captcha by crowdsecurity/ssh-bf")


async def test_an_unexpected_exception_costs_one_answer_and_not_the_edge(autojump_clock: MockClock) -> None:
    async def odd() -> httpx.Response:
        raise ZeroDivisionError("odd")

    lapi = FakeLapi()
    lapi.ban("192.0.2.7")
    lapi.fault = odd
    async with world(lapi) as edge:
        await trio.sleep(5)
        lapi.fault = None
        await trio.sleep(30)
        assert await edge.outcome("192.0.2.7") == BANNED
        assert edge.events()[0] == "crowdsec crashed"


async def test_the_worker_ends_at_once_when_it_is_cancelled_wherever_it_is(autojump_clock: MockClock) -> None:
    for fault in (None, *FAULTS):
        for seconds in (0.0, 0.5, 15.0):
            lapi = FakeLapi()
            lapi.fault = fault
            async with world(lapi):
                await trio.sleep(seconds)
                cancelled = trio.current_time()
            assert trio.current_time() - cancelled < 1


async def test_a_cancel_at_any_step_of_two_requests_leaves_nothing_open(autojump_clock: MockClock) -> None:
    async def act() -> None:
        lapi = FakeLapi()
        lapi.ban("192.0.2.7")
        live = Rehearsed(lapi).open(make_context())
        async with trio.open_nursery() as nursery:
            await nursery.start(live.run)
            await trio.sleep(11)
            assert len(lapi.requests) == 2
            nursery.cancel_scope.cancel()

    await act()
    before = left_open()

    def check() -> None:
        assert left_open() == before

    assert await cancel_at_every_step(act, check) > 5


async def test_a_cancel_at_any_step_of_a_cut_leaves_sessions_whole_or_cut(autojump_clock: MockClock) -> None:
    """Four sessions for each of some dozen cancels."""

    class Context:
        kind = "decision"

        def open(self, context: te.EdgeContext) -> Any:
            self.of_run = context
            return te.decision(lambda _: te.CONTINUE)

    stage = Context()
    async with open_edge(te.Edge("tcp://127.0.0.1:1", [stage], te.Forward("tcp://192.0.2.200:1"))) as edge:
        live = Rehearsed(FakeLapi()).open(stage.of_run)
        live.bans.put(1, (bytes([192, 0, 2, 7]), 1e9, BANNED.detail))
        clients = list[Client]()

        async def act() -> None:
            for _ in range(4):
                clients.append(await edge.connect("192.0.2.7"))
            live._fresh.append(bytes([192, 0, 2, 7]))
            await live._cut()
            assert all(client.session.cut_reason for client in clients)

        def check() -> None:
            for client in clients:
                assert client.session.cut_reason in (None, te.Reason.SOURCE)
                client.session.cut(te.Reason.EVICTED)
            clients.clear()

        assert await cancel_at_every_step(act, check) > 10


async def test_one_recipe_in_two_edges_has_bans_of_its_own_in_each(autojump_clock: MockClock) -> None:
    recipe = Rehearsed(FakeLapi())
    first, second = recipe.open(make_context()), recipe.open(make_context())
    assert first.bans is not second.bans


def test_it_keeps_the_promises_of_a_decision() -> None:
    check_decision(Rehearsed(FakeLapi()))
    check_decision(Rehearsed(FakeLapi(), until_ready="reject"))


def test_a_chain_in_which_the_source_changes_behind_it_is_refused() -> None:
    proxy = te.ProxyProtocol(trusted=["10.0.0.0/8"])
    te.Edge("tcp://127.0.0.1:1", [proxy, Rehearsed(FakeLapi())], te.Forward("tcp://192.0.2.1:1"))
    with pytest.raises(te.ConfigurationError, match="source"):
        te.Edge("tcp://127.0.0.1:1", [Rehearsed(FakeLapi()), proxy], te.Forward("tcp://192.0.2.1:1"))


def test_the_decision_judges_the_source_and_the_time_of_a_session() -> None:
    live = Rehearsed(FakeLapi()).open(make_context())
    live.bans.put(1, (bytes([192, 0, 2, 7]), 10.0, "crowdsec: ban"))
    assert live.decide(make_session("192.0.2.7", now=9)) == te.Reject(te.Reason.SOURCE, "crowdsec: ban")
    assert live.decide(make_session("192.0.2.7", now=10)) is te.CONTINUE
    assert live.decide(make_session("::ffff:192.0.2.7", now=9)) != te.CONTINUE
