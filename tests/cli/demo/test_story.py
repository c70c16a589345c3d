"""The events of the demo, in memory and under the clock of the test."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest
import trio

import trioedge as te
from tests.support.admin import World, admin_world, ask
from tests.support.cancels import cancelled_before, left_open
from tests.support.edges import exchange
from trioedge.addresses.address import parse_address
from trioedge.admin.http.api import AdminApi
from trioedge.cli.client.client import EdgeClient
from trioedge.cli.client.errors import AdminError
from trioedge.cli.demo import edge as demo_edge
from trioedge.cli.demo import story
from trioedge.cli.demo.clients import Seen
from trioedge.cli.demo.story import (
    ARRIVAL_SECONDS,
    CHANGE_SECONDS,
    EVICTION_SECONDS,
    FIRST_CHANGE_SECONDS,
    FIRST_EVICTION_SECONDS,
    KILL_SECONDS,
    Story,
)
from trioedge.cli.demo.view import Lines
from trioedge.control.file import read_services

UPSTREAM = "tcp://127.0.0.1:1"
VIDEO = '[services.video]\ndown_rate = "{}"\n'


@pytest.fixture(autouse=True)
def _no_worker_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The edge is in this process."""

    async def survives(client: EdgeClient, seen: Seen) -> str:
        return f"dies, {seen.refused} refused"

    monkeypatch.setattr(story, "kill_worker", survives)


@attrs.frozen
class ApiClient(EdgeClient):
    """A client of an API in memory."""

    api: AdminApi = attrs.field(kw_only=True)

    async def ask(
        self, method: str, path: str, *, query: Mapping[str, str | int | None] | None = None, body: Any = None,
        seconds: float = 0, allowed: int | None = None,
    ) -> Any:  # fmt: skip
        found = urlencode({name: value for name, value in (query or {}).items() if value is not None})
        lines = isinstance(body, list)
        raw = b"".join(body) if lines else b"" if body is None else json.dumps(body).encode()
        kind = b"application/x-ndjson" if lines else b"application/json"
        answer = await ask(self.api, method, f"{path}?{found}", raw, headers={b"content-type": kind})
        if answer.status >= 400:
            raise AdminError("; ".join(answer.json.get("faults", [answer.json.get("error")])), answer.status)
        return answer.json


class Notes(Lines):
    """A view that keeps the notes with their times."""

    def __init__(self) -> None:
        super().__init__()
        self.began = trio.current_time()
        self.kept: list[tuple[float, str]] = []

    def note(self, text: str) -> None:
        self.kept.append((round(trio.current_time() - self.began, 1), text))

    def about(self, subject: str) -> list[tuple[float, str]]:
        return [(at, text) for at, text in self.kept if subject in text]


class Stage:
    """The demo's edge at work, with its story, which a test runs.

    Attributes:
        control: the control plane; it reads the file only when a test says so.
        seen: what the clients see.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "services.toml"
        self.view = Notes()
        self.story = Story(self.file, UPSTREAM, self.view)
        self.control = te.MemoryControl()
        self.seen = Seen()
        self.api: World

    @property
    def world(self) -> Any:
        return self.api.edge

    async def speed(self) -> str:
        services = (await self.api.get("/v1/services"))["items"]
        return self.story.speed({each["name"]: each for each in services})

    async def play(self) -> None:
        await self.story.run(ApiClient(parse_address("unix:///edge.sock"), api=self.api.api), self.seen)

    async def apply_file(self) -> None:
        await self.control.apply(read_services(self.file))

    async def apply_changes(self) -> None:
        """Apply the file a second after each time that it changed, as a control plane would."""
        known = self.file.read_text()
        while True:
            await trio.sleep(0.1)
            if self.file.exists() and (text := self.file.read_text()) != known:
                known = text
                await trio.sleep(0.9)
                await self.apply_file()


@asynccontextmanager
async def at_work(folder: Path) -> AsyncIterator[Stage]:
    stage = Stage(folder)
    await stage.apply_file()
    edge = demo_edge.build("tcp://127.0.0.1:0", stage.control, check=demo_edge.check_device)
    async with admin_world(edge) as stage.api:
        stage.view.began = trio.current_time()
        yield stage


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def run(stage: Stage, seconds: float) -> None:
    with trio.move_on_after(seconds) as scope:
        await stage.play()
    assert scope.cancelled_caught


async def test_the_file_has_all_services_of_the_clients_and_the_edge_accepts_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with at_work(tmp_path) as stage:
        assert set(stage.world.edge.services) == {*demo_edge.SERVICES.values(), "guest"}
        assert stage.world.edge.services["video"].policy.down_rate == 2_000_000
        assert names_in(tmp_path) == ["services.toml"]


@pytest.mark.parametrize(("live", "said"), [(1, "1 session"), (2, "2 sessions")])
async def test_a_denied_device_is_noted_with_the_number_of_its_sessions(
    live: int, said: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with at_work(tmp_path) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, stage, 1.4)
            clients = [await stage.world.connect("127.0.6.1") for _ in range(live)]
            await exchange(await stage.world.connect("127.0.0.4"))
            for client in clients:
                assert (await client.ended()).reason == te.Reason.DEVICE
        text = f"the device check denied 127.0.6.1 after 0.3 s: {said} cut, served until then"
        assert stage.view.kept == [(0.8, text)]


async def test_a_device_is_noted_once(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with at_work(tmp_path) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, stage, 4)
            for number in (1, 2):
                await stage.world.connect(f"127.0.6.{number}")
                await trio.sleep(2)
        assert [text.split()[4] for _, text in stage.view.about("denied")] == ["127.0.6.1", "127.0.6.2"]


async def test_a_worker_is_killed_once(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with at_work(tmp_path) as stage:
        stage.seen.refused = 7
        await run(stage, 3 * KILL_SECONDS)
        assert stage.view.about("dies") == [(4.5, "dies, 7 refused")]


async def test_the_staying_sessions_are_evicted_after_a_moment_and_then_every_six_seconds(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with at_work(tmp_path) as stage:
        other = await stage.world.connect(demo_edge.POLITE)
        staying = [await stage.world.connect(demo_edge.STAYING) for _ in range(3)]
        await run(stage, FIRST_EVICTION_SECONDS + EVICTION_SECONDS + 0.1)
        assert [(await client.ended()).reason for client in staying] == [te.Reason.EVICTED] * 3
        assert other.outcome is None
        assert stage.view.about("evicted") == [
            (1.5, "evicted 3 sessions of 127.0.0.4; its clients come back in a second"),
            (7.5, "evicted 0 sessions of 127.0.0.4; its clients come back in a second"),
        ]


async def test_the_rate_changes_back_and_forth_and_is_noted_when_it_is_in_force(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with at_work(tmp_path) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.apply_changes)
            await stage.world.connect(demo_edge.WATCHING)
            await run(stage, FIRST_CHANGE_SECONDS + CHANGE_SECONDS + 2)
            nursery.cancel_scope.cancel()
        (first, up), (second, down) = stage.view.about("services.toml")
        assert [first, second] == pytest.approx([3.5, 9.5], abs=0.2)
        plan = "retunes 1 session; in force after"
        assert up.startswith(f"services.toml gives video 6 MB/s: {plan} ")
        assert down.startswith(f"services.toml gives video 2 MB/s: {plan} ")
        assert names_in(tmp_path) == ["services.toml"]


async def test_a_change_that_does_not_arrive_is_noted_and_the_next_one_is_tried(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with at_work(tmp_path) as stage:
        await run(stage, FIRST_CHANGE_SECONDS + ARRIVAL_SECONDS + 0.1)
        assert stage.view.about("services.toml") == [
            (5.5, "services.toml gives video 6 MB/s: the edge got no change, and goes on as before")
        ]
        assert 'down_rate = "6 MB/s"' in stage.file.read_text()


def write(text: str) -> Callable[[Path], object]:
    return lambda file: file.write_text(text)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (Path.unlink, "No such file"),
        (write(VIDEO.format("1 MB/s") + "\n[services.web]\nsession_rate = 0\n"), "session_rate = 0 must be a number"),
        (write(VIDEO.format("1 MB/s") + "\n["), "is not TOML"),
        (lambda file: file.write_bytes(b"# caf\xe9\n"), "can't decode byte 0xe9"),
    ],
    ids=["removed", "wrong", "no TOML", "no UTF-8"],
)
async def test_a_file_that_the_user_broke_is_noted_and_the_demo_goes_on(
    act: Callable[[Path], object], said: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with at_work(tmp_path) as stage:
        act(stage.file)
        await run(stage, FIRST_CHANGE_SECONDS + EVICTION_SECONDS)
        ((at, text),) = stage.view.about("services.toml gives")
        assert at == 2.5
        assert text.startswith("services.toml gives video 6 MB/s: ")
        assert said in text


@pytest.mark.parametrize("text", ["", "[services.web]\n", '[services.video]\n# mine\ndown_rate = "1 MB/s"\n'])
async def test_a_file_whose_rate_the_user_moved_is_left_as_it_is(
    text: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with at_work(tmp_path) as stage:
        stage.file.write_text(text)
        await run(stage, FIRST_CHANGE_SECONDS + ARRIVAL_SECONDS + 1)
        assert stage.file.read_text() == text
        assert stage.view.about("services.toml") == []


async def test_the_text_of_the_user_besides_the_rate_stays(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    text = '# é\n[services.chat]\ndown_rate = "9 MB/s"\n\n' + VIDEO + "idle_seconds = 9\n"
    async with at_work(tmp_path) as stage:
        stage.file.write_text(text.format("123 kB/s"), encoding="utf-8")
        await run(stage, FIRST_CHANGE_SECONDS + 1)
        assert stage.file.read_text(encoding="utf-8") == text.format("6 MB/s")


async def test_the_speed_is_that_of_the_last_two_seconds(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with at_work(tmp_path) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.play)
            await trio.sleep(0.05)
            stage.seen.arrived["127.0.0.5"] += 400_000
            stage.seen.arrived["127.0.0.4"] += 100
            speeds = []
            for _ in range(3):
                await trio.sleep(1)
                speeds.append(await stage.speed())
            nursery.cancel_scope.cancel()
    assert speeds == [f"video {speed}/s over 2 s, of 2 MB/s" for speed in ("400 kB", "200 kB", "0 B")]


async def test_a_demo_that_was_stopped_for_an_hour_goes_on(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    """As after a Ctrl-Z: the clock jumps by far more than the time over which the speed is measured."""
    async with at_work(tmp_path) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.play)
            await trio.testing.wait_all_tasks_blocked()
            stage.seen.arrived["127.0.0.5"] += 7_200_000
            mock_clock.jump(3600)
            await trio.testing.wait_all_tasks_blocked()
            assert await stage.speed() == "video 2.0 kB/s over 2 s, of 2 MB/s"
            nursery.cancel_scope.cancel()


async def test_the_limit_is_that_of_the_service_which_the_user_names_now(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with at_work(tmp_path) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.play)
            speeds = []
            for policy in (None, te.Policy(down_rate=5_000_000), te.Policy()):
                if policy is None:
                    await stage.control.remove("video")
                else:
                    await stage.control.put("video", policy)
                await trio.sleep(0.15)
                speeds.append(await stage.speed())
            nursery.cancel_scope.cancel()
    assert speeds == ["video 0 B/s over 2 s", "video 0 B/s over 2 s, of 5 MB/s", "video 0 B/s over 2 s"]


async def test_a_cancel_at_any_step_of_the_story_leaves_a_whole_file_and_no_task(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with at_work(tmp_path) as stage:
        before = left_open()

        async def act() -> None:
            with trio.move_on_after(4):
                await stage.play()

        for step in range(1, 60):
            assert await cancelled_before(step, act)
            assert left_open() == before
            assert set(read_services(stage.file).services) == {*demo_edge.SERVICES.values(), "guest"}
            assert names_in(tmp_path) == ["services.toml"]
