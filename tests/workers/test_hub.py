"""The hub and its members: services, totals, evictions and questions over several workers."""

from typing import Any

import attrs
import pytest
import trio
import trio.lowlevel
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.workers import Workers, open_workers, settings_of
from trioedge.services.control_plane import AsksForUsers
from trioedge.testing import Client


def compose(control: te.ControlPlane | None) -> te.Edge:
    """An edge whose services are named by source."""
    stages = [te.Identify(lambda session: "shop" if session.source.startswith("192.0.2.") else "bank")]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control, report_seconds=2)


@attrs.frozen
class Hours:
    since: Any = 0


@te.decision(policy=Hours)
def open_hours(session: te.Session) -> te.Verdict:
    return te.CONTINUE


def with_hours(control: te.ControlPlane | None) -> te.Edge:
    stages = [te.Identify(), open_hours]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)


def make_control(**services: te.Policy) -> te.MemoryControl:
    return te.MemoryControl({"shop": te.Policy(), "bank": te.Policy(), **services})


async def talk(world: Workers, worker: int, source: str = "192.0.2.1", data: bytes = b"ping") -> Client:
    """Connect a client that sends some bytes and gets them back."""
    client = await world.workers[worker].world.connect(source)
    await client.send(data)
    assert await client.receive(len(data)) == data
    return client


def of(control: te.MemoryControl, service: str = "shop") -> tuple[int, int, int]:
    totals = control.totals(service)
    return totals.bytes_up, totals.opened, totals.live


# Services.


async def test_workers_have_the_services_of_the_first_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control(shop=te.Policy(max_sessions=3))
    async with open_workers(compose, control) as world:
        for worker in world.workers:
            assert settings_of(worker.edge)["shop"].policy.max_sessions == 3
            assert {*worker.edge.services} == {"shop", "bank"}
        first, second = (worker.edge.services["shop"].incarnation for worker in world.workers)
        assert first == second


async def test_a_change_is_in_force_in_every_worker_when_apply_returns(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
        clients = [await world.workers[number].world.connect() for number in range(2)]
        plan = await control.put("shop", te.Policy(enabled=False))
        assert plan.evicted == 2, "one in each worker"
        for client in clients:
            assert (await client.ended()).reason is te.Reason.EVICTED
        await control.remove("bank")
        for worker in world.workers:
            assert {*worker.edge.services} == {"shop"}
            assert not worker.edge.services["shop"].policy.enabled


async def test_a_service_that_is_removed_and_named_again_at_once_is_another_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
        client = await talk(world, 0)
        before = world.workers[0].edge.services["shop"]
        async with trio.open_nursery() as nursery:  # the second one before the first one has been told
            nursery.start_soon(control.remove, "shop")
            await trio.lowlevel.checkpoint()
            nursery.start_soon(control.put, "shop", te.Policy())
        assert (await client.ended()).reason is te.Reason.EVICTED
        assert world.workers[0].edge.services["shop"] is not before


async def test_a_worker_that_connects_again_changes_nothing_of_services_that_stay(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
        client = await talk(world, 0)
        before = [worker.edge.services["shop"] for worker in world.workers]
        world.cut_connections()
        await trio.lowlevel.checkpoint()
        await control.remove("bank")
        await control.put("cafe", te.Policy(max_sessions=1))
        await trio.sleep(3)
        assert [worker.edge.services["shop"] for worker in world.workers] == before
        assert all({*worker.edge.services} == {"shop", "cafe"} for worker in world.workers)
        await client.send(b"more")
        assert await client.receive(4) == b"more"


async def test_another_control_process_keeps_services_and_sessions(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
        client = await talk(world, 0)
        before = world.workers[0].edge.services["shop"]
        world.kill_hub()
        await trio.sleep(2)
        assert world.workers[0].edge.control_state().error
        await control.remove("bank")
        await world.start_hub()
        await trio.sleep(3)
        assert not world.workers[0].edge.control_state().error
        assert {*world.workers[0].edge.services} == {"shop"}
        assert world.workers[0].edge.services["shop"] is before
        await client.send(b"more")
        assert await client.receive(4) == b"more"
        await control.remove("shop")
        assert (await client.ended()).reason is te.Reason.EVICTED


async def test_the_state_names_the_workers_and_their_versions(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
        await control.apply(te.Snapshot({"shop": te.Settings()}, version="seven", allow_removal=True))
        await trio.sleep(0.1)
        assert world.hub is not None
        state = world.hub.states()["edge"]
        assert [(each.number, each.version, each.connected, each.lags) for each in state.workers] == [
            (0, "seven", True, False), (1, "seven", True, False),
        ]  # fmt: skip
        assert world.workers[0].edge.control_state().version == "seven"


async def test_a_worker_that_does_not_answer_is_named_and_delays_no_other(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
        stopped = world.workers[0].part.control
        assert stopped is not None
        monkeypatch.setattr(stopped, "take", lambda *_: trio.sleep_forever())
        with capture_logs() as lines:
            began = trio.current_time()
            await control.put("shop", te.Policy(enabled=False))
            assert trio.current_time() - began == pytest.approx(2)
        assert not world.workers[1].edge.services["shop"].policy.enabled
        assert [line["workers"] for line in lines if line["event"] == "workers lag behind the services"] == [[0]]
        assert world.hub is not None
        assert [each.lags for each in world.hub.states()["edge"].workers] == [True, False]


async def test_a_worker_of_another_version_only_reports(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
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
        assert of(control)[2] == 2
        assert world.hub is not None
        assert "it only reports" in world.hub.states()["edge"].workers[0].refusal


async def test_a_snapshot_with_a_value_that_cannot_be_sent_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(with_hours, control) as world:
        with pytest.raises(te.SnapshotError, match=r"services\.shop\.hours\.since"):
            await control.put("shop", te.Policy(stages=(Hours(lambda: 8),)))
        await control.put("shop", te.Policy(stages=(Hours(8),)))
        assert world.workers[1].edge.services["shop"].policy[Hours].since == 8


# Totals.


async def test_totals_of_workers_are_added_up(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
        for number in range(2):
            await talk(world, number, f"192.0.2.{number}")
        await trio.sleep(6)
        totals = control.totals("shop")
        assert (totals.bytes_up, totals.bytes_down, totals.opened, totals.live, totals.sources) == (8, 8, 2, 2, 2)
        assert len({report.epoch for report in control.reports}) == 1


async def test_the_totals_of_a_dead_worker_stay_and_its_sessions_do_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
        await talk(world, 0)
        await talk(world, 1)
        await trio.sleep(1.5)
        world.workers[0].scope.cancel()
        await trio.sleep(6)
        assert of(control) == (8, 2, 1)
        world.add_worker(column=0, generation=1)  # in its place
        await world.workers[2].serving.wait()
        await talk(world, 2)
        await trio.sleep(6)
        assert of(control) == (12, 3, 2)
        assert world.hub is not None
        dead = {"opened": 1, "bytes_up": 4, "bytes_down": 4}
        assert world.hub.past("edge", [0, 1], "shop") == dead
        assert world.hub.past("edge", [0], "shop") == {name: 2 * count for name, count in dead.items()}
        assert world.hub.past("edge", [0, 1], "bank") == dict.fromkeys(dead, 0)
        assert world.hub.past("edge", [0, 1], "none") == {}


async def test_a_lost_connection_counts_nothing_twice(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
        await talk(world, 0)
        for pause in (0.3, 1, 3, 5):
            await trio.sleep(pause)
            world.cut_connections()
            await talk(world, 0)
        await trio.sleep(45)  # the pauses of reports that failed grow to half a minute
        assert of(control) == (20, 5, 5)


async def test_another_control_process_counts_nothing_twice(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
        client = await talk(world, 0)
        await trio.sleep(6)
        assert of(control) == (4, 1, 1)
        world.kill_hub()
        await client.send(b"more")
        await trio.sleep(1)
        await world.start_hub()
        await trio.sleep(45)
        assert len({report.epoch for report in control.reports}) == 2
        assert of(control)[:2] == (8, 1)
        await client.close()
        await control.remove("shop")
        await trio.sleep(6)
        assert of(control)[:2] == (8, 1)


async def test_the_last_totals_of_a_removed_service_are_reported(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(compose, control) as world:
        await talk(world, 0)
        await talk(world, 1)
        await control.remove("shop")
        await control.put("shop", te.Policy())
        await talk(world, 1)
        await trio.sleep(8)
        assert of(control) == (12, 3, 1)
        assert len({usage.incarnation for report in control.reports for usage in report.services}) == 2


# Link, questions.


@pytest.mark.parametrize(
    ("what", "known", "cut"),
    [
        ({"service": "shop"}, 3, [0, 1, 2]),
        ({"service": "shop", "source": "192.0.2.1"}, 1, [0]),
        ({"source": "192.0.2.0/24"}, 0, [0, 1, 2]),
        ({"source": "203.0.113.1"}, 0, [3]),
    ],
)
async def test_evict_cuts_in_every_worker(
    what: dict[str, str], known: int, cut: list[int], autojump_clock: trio.testing.MockClock
) -> None:
    control = Kept({"shop": te.Policy(), "bank": te.Policy()})
    async with open_workers(compose, control) as world:
        where = [(0, "192.0.2.1"), (1, "192.0.2.2"), (1, "192.0.2.3"), (0, "203.0.113.1")]
        clients = [await talk(world, worker, source) for worker, source in where]
        await trio.sleep(1.5)
        assert sorted(control.link.online("shop")) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        assert control.link.evict(**what) == known
        await trio.sleep(0.5)
        assert [number for number, client in enumerate(clients) if client.outcome is not None] == cut


class Kept(te.MemoryControl):
    """A control plane that keeps its link, and counts how often it is asked to reload."""

    link: te.Link
    reloads = 0

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.link = link
        await super().run(link, task_status=task_status)

    def reload(self) -> None:
        self.reloads += 1

    def service_of(self, user: str, /) -> str | None:
        return {"ann": "shop"}.get(user)


async def test_every_worker_answers_a_question(autojump_clock: trio.testing.MockClock) -> None:
    async def answer(edge: str, operation: str, params: Any) -> object:
        if operation == "slow":
            await trio.sleep(params)
        return [edge, operation, params]

    async with open_workers(compose, make_control(), answer=answer) as world:
        assert world.hub is not None
        answers = await world.hub.ask("edge", "statistics", {"a": 1})
        assert answers == [["edge", "statistics", {"a": 1}]] * 2
        assert (answers.numbers, answers.missing) == ((0, 1), ())
        assert len(await world.hub.ask("edge", "slow", 1.9)) == 2
        with capture_logs():
            late = await world.hub.ask("edge", "slow", 2.1)
        assert (late, late.missing) == ([], (0, 1))
        world.workers[1].scope.cancel()
        await trio.sleep(0.1)
        assert (await world.hub.ask("edge", "statistics", None)).missing == (1,)


async def test_an_old_worker_that_drains_answers_too(autojump_clock: trio.testing.MockClock) -> None:
    async def answer(edge: str, operation: str, params: Any) -> object:
        return operation

    async with open_workers(compose, make_control(), answer=answer) as world:
        for column in (2, 3):
            world.add_worker(column=column, generation=1, answer=answer)
        for worker in world.workers:
            await worker.serving.wait()
        assert world.hub is not None
        answers = await world.hub.ask("edge", "statistics", None)
        assert len(answers) == 4


async def test_a_reload_of_workers_is_one_of_the_control_plane(autojump_clock: trio.testing.MockClock) -> None:
    control = Kept({"shop": te.Policy()})
    async with open_workers(compose, control) as world:
        for worker in world.workers:
            worker.edge.reload()
        await trio.sleep(0.5)
        assert control.reloads == 1
        assert world.hub is not None
        world.hub.reload()
        assert control.reloads == 2


async def test_a_user_is_known_in_every_worker(autojump_clock: trio.testing.MockClock) -> None:
    control = Kept({"shop": te.Policy()})
    async with open_workers(compose, control) as world:
        there: Any = world.workers[0].part.control
        assert isinstance(there, AsksForUsers)
        assert not there.knows_user("ann")
        await there.find_user("ann")
        await there.find_user("bob")
        assert (there.service_of("ann"), there.service_of("bob")) == ("shop", None)
        assert there.knows_user("ann")
        world.kill_hub()
        await trio.sleep(20)
        assert not there.knows_user("ann")
        await there.find_user("ann")
        assert there.service_of("ann") == "shop", "the last answer, because there is no control process"
