"""The hub: questions that every worker answers."""

from typing import Any

import trio
import trio.testing
from structlog.testing import capture_logs

from tests.support.worker_edges import by_source, make_control
from tests.support.workers import open_workers


async def test_every_worker_answers_a_question(autojump_clock: trio.testing.MockClock) -> None:
    async def answer(edge: str, operation: str, params: Any) -> object:
        if operation == "slow":
            await trio.sleep(params)
        return [edge, operation, params]

    async with open_workers(by_source, make_control(), answer=answer) as world:
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

    async with open_workers(by_source, make_control(), answer=answer) as world:
        for column in (2, 3):
            world.add_worker(column=column, generation=1, answer=answer)
        for worker in world.workers:
            await worker.serving.wait()
        assert world.hub is not None
        answers = await world.hub.ask("edge", "statistics", None)
        assert len(answers) == 4
