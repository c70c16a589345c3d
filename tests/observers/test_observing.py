from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.observers import Keeps, Raises, Sleeps, observed
from tests.support.wires import connect, edge_to, receive_exactly, server, serving
from trioedge.observers.worker import CLOSE_SECONDS, GATHER_SECONDS
from trioedge.testing import open_edge
from trioedge.testing.rehearsal import Rehearsal


async def talk(world: Rehearsal, source: str = "192.0.2.1") -> te.Session:
    client = await world.connect(source)
    await client.send(b"ping")
    assert await client.receive(4) == b"ping"
    await client.finish()
    assert await client.receive_all() == b""
    await client.ended()
    return client.session


async def test_an_observer_is_told_of_sessions_that_were_accepted_refused_and_ended(autojump_clock: MockClock) -> None:
    keeps = Keeps()
    async with open_edge(observed(keeps)) as world:
        ran = await talk(world)
        await (await world.connect("198.51.100.1")).ended()
        lives = (await world.connect("192.0.2.2")).session
        await trio.sleep(1)
        (batch,) = keeps.batches
        assert [(each.id, each.source, each.service) for each in batch.accepted] == [
            (ran.id, "192.0.2.1", "default"), (lives.id, "192.0.2.2", "default"),
        ]  # fmt: skip
        ended, refused = batch.ended
        assert (ended.id, ended.refused, ended.bytes_up, str(ended.upstream)) == (
            ran.id, False, 4, "tcp://192.0.2.9:80",
        )  # fmt: skip
        assert (refused.refused, refused.outcome.reason, refused.outcome.detail) == (True, te.Reason.POLICY, "not ours")
        assert batch.stages == ("only_ours", "Forward")
    assert [(each.id, each.outcome.reason) for each in keeps.ended[2:]] == [(lives.id, te.Reason.DRAINED)]
    assert world.edge.statistics().observers_lost == 0


async def test_a_session_that_a_later_stage_refuses_was_accepted(autojump_clock: MockClock) -> None:
    @te.middleware
    async def refuses(session: te.Session, call_next: te.Handler) -> te.Outcome:
        await trio.sleep(10)
        return te.Reject(te.Reason.POLICY, "later")

    keeps = Keeps()
    edge = te.Edge("tcp://127.0.0.1:1", [refuses], te.Forward("tcp://192.0.2.9:80"), observers=[keeps])
    async with open_edge(edge) as world:
        client = await world.connect()
        await trio.sleep(5)
        assert ([each.id for each in keeps.accepted], keeps.ended) == ([client.session.id], [])
        await trio.sleep(6)
        assert [(each.id, each.refused) for each in keeps.ended] == [(client.session.id, True)]


async def test_sessions_over_sockets_are_told_too() -> None:
    keeps = Keeps()
    async with server() as upstream:
        async with serving(edge_to(upstream, observers=[keeps])) as port:
            async with await connect(port) as client:
                await client.send_all(b"ping")
                assert await receive_exactly(client, 4) == b"ping"
    (start,), (end,) = keeps.accepted, keeps.ended
    assert (start.id, start.peer, end.id, end.bytes_up, end.bytes_down) == (end.id, "127.0.0.1", 1, 4, 4)


async def test_an_observer_is_told_of_services_that_come_change_and_go(autojump_clock: MockClock) -> None:
    keeps = Keeps()
    control = te.MemoryControl({"shop": te.Settings(te.Policy(), te.Credentials(te.hash_password("secret")))})
    edge = observed(keeps, control=control)
    async with open_edge(edge):
        await trio.sleep(1)
        await control.put("shop", te.Policy(max_sessions=1))
        await control.put("cafe", te.Policy())
        await trio.sleep(1)
        await control.remove("cafe")
        await trio.sleep(1)
    first, second, third = ([(each.name, each.before is None, each.after is None) for each in batch.changes]
                            for batch in keeps.batches)  # fmt: skip
    assert (first, second, third) == (
        [("shop", True, False)], [("shop", False, False), ("cafe", True, False)], [("cafe", False, True)],
    )  # fmt: skip
    assert set(keeps.changes[1].fields) == {"max_sessions", "password_hash"}
    assert "scrypt" not in repr([*keeps.changes, *(each.after and each.after.credentials for each in keeps.changes)])
    assert all(settings.credentials == te.Credentials() for each in keeps.changes
               for settings in (each.before, each.after) if settings is not None)  # fmt: skip


@pytest.mark.parametrize("observer", [Sleeps(10_000), Raises()])
async def test_an_observer_that_sleeps_or_raises_delays_and_refuses_no_session(
    observer: Keeps, autojump_clock: MockClock
) -> None:
    others = Keeps()
    with capture_logs():
        async with open_edge(observed(observer, others)) as world:
            for _ in range(20):
                began = trio.current_time()
                await talk(world)
                assert trio.current_time() == began
                await trio.sleep(1)
            statistics = world.edge.statistics()
            assert (statistics.ended, statistics.refused) == ({te.Reason.FINISHED: 20}, {})
    assert len(others.ended) == 20
    assert world.edge.statistics().observers_lost == 40  # all starts and ends, of the one of the two


async def test_what_a_sleeping_observer_loses_in_a_flood_is_counted_exactly(autojump_clock: MockClock) -> None:
    sleeps = Sleeps(100)
    with capture_logs():
        async with open_edge(observed(sleeps)) as world:
            await talk(world)
            await trio.sleep(1)
            for _ in range(1_234):
                await (await world.connect("198.51.100.1")).ended()
            assert world.edge.statistics().observers_lost == 234
            await trio.sleep(100)
    assert [(len(batch), batch.lost) for batch in sleeps.batches] == [(2, 0), (1_000, 234)]


async def test_without_an_observer_nothing_is_recorded(autojump_clock: MockClock) -> None:
    edge = observed()
    async with open_edge(edge) as world:
        await talk(world)
        assert edge._run is not None
        log, sessions = edge._run._log, edge._run.sessions
        assert sessions is not None
        assert (log.starts.total, log.ends.total) == (0, 0)
        assert sessions._register == sessions.live.add
    assert edge.statistics().observers_lost == 0


async def test_an_access_log_alone_records_no_starts(autojump_clock: MockClock) -> None:
    edge = observed(access_log=te.AccessLog("/dev/null"))
    async with open_edge(edge) as world:
        await talk(world)
        assert edge._run is not None
        assert (edge._run._log.starts.total, edge._run._log.ends.total) == (0, 1)


class Off:
    def open(self, context: te.EdgeContext) -> None: ...


async def test_an_observer_that_is_off_costs_nothing_and_the_log_says_so(autojump_clock: MockClock) -> None:
    edge = observed(Off())
    with capture_logs() as logs:
        async with open_edge(edge) as world:
            await talk(world)
            assert edge._run is not None
            assert (edge._run._log.starts.read, edge._run._log.ends.read) == (False, False)
    assert [entry["observer"] for entry in logs if entry["event"] == "observer is off"] == ["Off"]


class Recipe:
    """A recipe that notes the life of its live observers."""

    def __init__(self, *, close_fails: bool = False) -> None:
        self.said: list[str] = []
        self.close_fails = close_fails

    def open(self, context: te.EdgeContext) -> "Live":
        self.said.append("open")
        return Live(self, context)


class Live:
    def __init__(self, recipe: Recipe, context: te.EdgeContext) -> None:
        self._recipe = recipe
        self._context = context

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._recipe.said.append("run ends")

    async def observe(self, batch: te.Batch) -> None:
        await trio.lowlevel.checkpoint()
        live = len(self._context.sessions)
        self._recipe.said.append(f"{len(batch.accepted)} accepted, {len(batch.ended)} ended, {live} live")

    def close(self) -> None:
        self._recipe.said.append("close")
        if self._recipe.close_fails:
            raise LookupError("close")


async def test_a_recipe_is_opened_once_a_run_and_closed_behind_the_last_batch(autojump_clock: MockClock) -> None:
    recipe = Recipe()
    edge = observed(recipe)
    for _ in range(2):
        async with open_edge(edge) as world:
            await world.connect()
            await trio.sleep(1)
    once = ["open", "1 accepted, 0 ended, 1 live", "0 accepted, 1 ended, 0 live", "run ends", "close"]
    assert recipe.said == once * 2


async def test_a_close_that_raises_is_logged_and_the_other_observers_are_closed(autojump_clock: MockClock) -> None:
    first, last = Recipe(), Recipe(close_fails=True)
    with capture_logs() as logs:
        async with open_edge(observed(first, last)):
            pass
    assert [entry["stage"] for entry in logs if entry["event"] == "close failed"] == ["Live"]
    assert first.said[-1] == last.said[-1] == "close"


class Refuses:
    def open(self, context: te.EdgeContext) -> Any:
        raise te.ConfigurationError("Refuses(url=…): there is no collector")


async def test_an_observer_that_cannot_be_opened_keeps_the_edge_from_starting_and_the_others_are_closed(
    autojump_clock: MockClock,
) -> None:
    recipe = Recipe()
    edge = observed(recipe, Refuses())
    with pytest.RaisesGroup(pytest.RaisesExc(te.ConfigurationError, match="no collector"), flatten_subgroups=True):
        await edge.serve()
    assert recipe.said == ["open", "run ends", "close"]
    assert edge.phase.value == "stopped"


async def test_a_drain_gives_the_last_batch_before_the_edge_says_that_it_has_stopped() -> None:
    keeps = Keeps()
    async with server() as upstream:
        edge = edge_to(upstream, observers=[keeps])
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            async with await connect(int(edge.addresses[0].rpartition(":")[2])) as client:
                await client.send_all(b"ping")
                await receive_exactly(client, 4)
                edge.drain()
                await client.send_eof()
            await edge.phase.wait_value("stopped")
            assert [end.outcome.reason for end in keeps.ended] == [te.Reason.FINISHED]


@pytest.mark.parametrize("seconds", [0.0, 10_000.0])
async def test_the_end_of_an_edge_waits_a_second_for_its_observers_at_most(
    seconds: float, autojump_clock: MockClock
) -> None:
    with capture_logs():
        async with open_edge(observed(Sleeps(seconds), Sleeps(seconds))) as world:
            await world.connect()
            await trio.sleep(2 * GATHER_SECONDS)
            ended_at = trio.current_time()
    assert trio.current_time() - ended_at == (CLOSE_SECONDS if seconds else 0)


async def test_an_edge_with_an_observer_that_is_cancelled_before_any_step_leaves_nothing_and_loses_no_record() -> None:
    recipe, keeps = Recipe(), Keeps()
    edge = edge_to(1, observers=[recipe, keeps])

    async def live() -> None:
        recipe.said.clear()
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            edge.drain()

    await live()
    before = left_open()

    def check() -> None:
        assert recipe.said.count("close") == recipe.said.count("open")
        assert left_open() == before
        assert edge.statistics().observers_lost == 0

    assert await cancel_at_every_step(live, check) > 10
