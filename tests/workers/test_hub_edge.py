"""One edge in the control process: its state, its snapshots, and workers that cannot follow."""

import pickle
from typing import Any

import attrs
import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.worker_edges import Kept, by_source, counted, make_control, talk
from tests.support.workers import open_workers
from trioedge.workers.follower import BYTES_PER_MESSAGE
from trioedge.workers.messages.channel import Channel
from trioedge.workers.messages.packed import MAX_KEYS_BYTES
from trioedge.workers.sums import Settled
from trioedge.workers.worker_totals import SpokenTotals


@attrs.frozen
class Hours:
    since: Any = 0


@te.decision(policy=Hours)
def open_hours(session: te.Session) -> te.Verdict:
    return te.CONTINUE


def with_hours(control: te.ControlPlane | None) -> te.Edge:
    stages = [te.Identify(), open_hours]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)


async def test_the_state_names_the_workers_and_their_versions(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        await control.apply(te.Snapshot({"shop": te.Settings()}, version="seven", allow_removal=True))
        await trio.sleep(0.1)
        assert world.hub is not None
        state = world.hub.state("edge")
        assert [(each.number, each.version, each.connected, each.lags) for each in state.workers] == [
            (0, "seven", True, False), (1, "seven", True, False),
        ]  # fmt: skip
        assert world.workers[0].edge.control_state().version == "seven"


async def test_a_worker_of_another_version_only_reports(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        await talk(world, 0)
        world.kill_hub()
        await trio.lowlevel.checkpoint()
        monkeypatch.setattr("trioedge.workers.hub_edge.SETTINGS_FORMAT", "another")
        await world.start_hub()
        await trio.sleep(1)
        await control.put("shop", te.Policy(enabled=False))
        assert world.workers[0].edge.services["shop"].policy.enabled
        await talk(world, 0)
        await trio.sleep(5)
        assert counted(control)[2] == 2
        assert world.hub is not None
        assert "it only reports" in world.hub.state("edge").workers[0].refusal


async def test_a_snapshot_with_a_value_that_cannot_be_sent_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(with_hours, control) as world:
        with pytest.raises(te.SnapshotError, match=r"services\.shop\.hours\.since"):
            await control.put("shop", te.Policy(stages=(Hours(lambda: 8),)))
        await control.put("shop", te.Policy(stages=(Hours(8),)))
        assert world.workers[1].edge.services["shop"].policy[Hours].since == 8


async def test_keys_of_a_stage_that_are_longer_than_a_message_reach_every_worker_and_very_long_ones_are_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    long = tuple(f"a name of some letters {number}" for number in range(34_000))
    assert 15 * BYTES_PER_MESSAGE < len(pickle.dumps(long)) < MAX_KEYS_BYTES
    async with open_workers(with_hours, control) as world:
        with pytest.raises(te.SnapshotError, match=r"services\.shop has 1,\d+,\d+ bytes of keys for stages"):
            await control.put("shop", te.Policy(stages=(Hours(long + long),)))
        for keys in (long, long[:30_000]):
            await control.put("shop", te.Policy(stages=(Hours(keys),)))
            for worker in world.workers:
                assert worker.edge.services["shop"].policy[Hours].since == keys
        await control.put("bank", te.Policy(max_sessions=7))
        assert world.workers[1].edge.services["bank"].policy.max_sessions == 7


async def test_very_many_totals_that_were_acknowledged_are_told_in_messages_of_bounded_size(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.workers.hub_edge.SETTLED_PER_MESSAGE", 2)
    told: list[int] = []
    settle = SpokenTotals.settle

    def noted(totals: SpokenTotals, rows: list[Settled]) -> None:
        told.append(len(rows))
        settle(totals, rows)

    monkeypatch.setattr(SpokenTotals, "settle", noted)
    names = [f"s{number}" for number in range(5)]
    control = te.MemoryControl(dict.fromkeys(names, te.Policy()))

    def by_port(control: te.ControlPlane | None) -> te.Edge:
        stages = [te.Identify(lambda session: f"s{session.source[-1]}")]
        return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)

    async with open_workers(by_port, control) as world:
        for number in range(5):
            await talk(world, 0, f"192.0.2.{number}")
        await trio.sleep(30)
        assert sum(told) >= 5
        assert max(told) == 2
        world.kill_hub()
        await trio.lowlevel.checkpoint()
        await world.start_hub()
        await trio.sleep(30)
    assert [control.totals(name).opened for name in names] == [1] * 5


@pytest.mark.parametrize("sent", [False, True])
async def test_totals_that_were_acknowledged_as_a_connection_ended_are_told_over_the_next_one(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, sent: bool
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        ask = Channel.ask

        async def cut_first(channel: Channel, topic: str, body: object, seconds: float) -> Any:
            if topic != "settled":
                return await ask(channel, topic, body, seconds)
            monkeypatch.setattr(Channel, "ask", ask)
            async with trio.open_nursery() as nursery:
                if sent:
                    nursery.start_soon(ask, channel, topic, body, seconds)
                    await trio.lowlevel.checkpoint()
                world.cut_connections()
                await trio.sleep_forever()
            raise AssertionError("it is cancelled")

        monkeypatch.setattr(Channel, "ask", cut_first)
        client = await talk(world, 0)
        await client.close()
        await client.ended()
        await trio.sleep(30)
        assert Channel.ask is ask, "a connection was cut"
        assert counted(control) == (4, 1, 0)
        world.kill_hub()
        await trio.lowlevel.checkpoint()
        await world.start_hub()
        await trio.sleep(30)
        assert counted(control) == (4, 1, 0)


async def test_a_reload_of_workers_is_one_of_the_control_plane(autojump_clock: trio.testing.MockClock) -> None:
    control = Kept({"shop": te.Policy()})
    async with open_workers(by_source, control) as world:
        for worker in world.workers:
            worker.edge.reload()
        await trio.sleep(0.5)
        assert control.reloads == 1
        await trio.sleep(1)
        assert world.hub is not None
        world.hub.reload()  # as at a SIGHUP, which every process has
        for worker in world.workers:
            worker.edge.reload()
        await trio.sleep(0.5)
        assert control.reloads == 2
