"""The hub: questions that every worker answers, and strangers that connect."""

import os
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.worker_edges import by_source, make_control, talk
from tests.support.workers import open_workers
from trioedge.process.parent.ending import SPARE_SECONDS
from trioedge.process.parent.listening import hub_socket
from trioedge.workers.hub import LAST_SECONDS, MAX_STRANGERS, Hub
from trioedge.workers.messages.frames import Frames
from trioedge.workers.messages.greeting import Hello, greet


async def test_every_worker_answers_a_question(autojump_clock: trio.testing.MockClock) -> None:
    async def answer(edge: str, operation: str, params: Any) -> object:
        if operation == "slow":
            await trio.sleep(params)
        return [edge, operation, params]

    async with open_workers(by_source, make_control(), answer=answer) as world:
        assert world.hub is not None
        answers = await world.hub.ask("edge", "statistics", {"a": 1})
        assert answers == [["edge", "statistics", {"a": 1}]] * 2
        assert answers.missing == ()
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

    async with open_workers(by_source, make_control(), answer=answer) as world:
        for column in (2, 3):
            world.add_worker(column=column, generation=1, answer=answer)
        for worker in world.workers:
            await worker.serving.wait()
        assert world.hub is not None
        answers = await world.hub.ask("edge", "statistics", None)
        assert len(answers) == 4


async def test_a_process_of_another_user_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    sock = hub_socket()
    secret, user = b"s" * 32, os.geteuid()
    hub = Hub({}, sock, secret, workers=1)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(hub.run)
            monkeypatch.setattr(os, "geteuid", lambda: user + 1)
            strangers = [await trio.open_unix_socket(sock.getsockname()) for _ in range(MAX_STRANGERS + 1)]
            for stranger in strangers:
                with trio.fail_after(1), suppress(trio.BrokenResourceError):
                    assert await stranger.receive_some(1) == b""
            monkeypatch.setattr(os, "geteuid", lambda: user)
            frames = Frames(await trio.open_unix_socket(sock.getsockname()))
            await greet(frames, secret, Hello(0, 0, 0, os.getpid()))
            for stream in strangers:
                await stream.aclose()
            await frames.close()
            nursery.cancel_scope.cancel()
    hub.close_socket()
    assert logs[0]["event"] == "a process of another user has connected to the control process"


async def test_a_control_process_retires_though_a_worker_has_left_the_edge(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_workers(by_source, make_control()) as world:
        for number in range(2):
            await talk(world, number)
        world.workers[0].serves.cancel()
        await trio.sleep(10)
        assert world.hub is not None
        began = trio.current_time()
        await world.hub.retire()
        assert trio.current_time() - began < 1


async def test_a_control_process_retires_in_time_though_its_control_plane_does_not_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Silent(te.MemoryControl):
        async def report(self, report: te.Report, /) -> None:
            await trio.sleep_forever()

    async with open_workers(by_source, Silent({"shop": te.Policy(), "bank": te.Policy()})) as world:
        await talk(world, 0)
        await trio.sleep(5)
        await talk(world, 0, "203.0.113.1")
        await trio.sleep(1)
        assert world.hub is not None
        began = trio.current_time()
        with capture_logs():
            await world.hub.retire()
        assert trio.current_time() - began <= LAST_SECONDS < SPARE_SECONDS
