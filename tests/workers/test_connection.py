"""A connection of a worker: messages of other versions, and messages that cannot be."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.support.worker_edges import by_source, make_control, talk
from tests.support.workers import SECRET, Workers, open_workers
from trioedge.telemetry.log import EdgeLog
from trioedge.workers.messages.channel import Channel
from trioedge.workers.messages.frames import ChannelError, Frames
from trioedge.workers.messages.greeting import Hello, greet


async def ignore(*_: Any) -> None:
    """Take anything."""


@asynccontextmanager
async def raw(world: Workers) -> AsyncIterator[Channel]:
    """Connect a worker that says what the test wants."""
    frames = Frames(await world.connect())
    await greet(frames, SECRET, Hello(7, 7, 0, os.getpid()))
    channel = Channel(frames, ignore, ignore, EdgeLog())
    async with trio.open_nursery() as nursery:
        await nursery.start(channel.run)
        yield channel
        nursery.cancel_scope.cancel()


async def test_edges_and_topics_that_are_unknown_are_left_out(autojump_clock: trio.testing.MockClock) -> None:
    async with open_workers(by_source, make_control()) as world, raw(world) as channel:
        assert await channel.ask("follow", ("another edge", None), inf) is None
        await channel.tell("news", ("edge", 5))
        assert await channel.ask("report", ("another edge", []), inf) is None


@pytest.mark.parametrize("body", [("edge", 5), 5, ("edge", [("shop", "too few")])])
async def test_a_message_that_cannot_be_costs_this_connection_alone(
    body: Any, autojump_clock: trio.testing.MockClock
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world, raw(world) as channel:
        await channel.ask("follow", ("edge", None), inf)
        with capture_logs():
            await channel.tell("reload", body)
            with pytest.raises(ChannelError):
                await channel.ask("report", body, 1)
            await trio.sleep(3)
        client = await talk(world, 0)
        await control.remove("shop")
        await client.ended()


async def test_a_worker_that_follows_twice_is_served_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_workers(by_source, make_control()) as world, raw(world) as channel:
        tasks = []
        for _ in range(5):
            await channel.ask("follow", ("edge", None), inf)
            await trio.sleep(0.1)
            tasks.append(trio.lowlevel.current_statistics().tasks_living)
        assert len(set(tasks)) == 1
        await channel.tell("leave", ("edge", None))
        await trio.sleep(0.1)
        assert trio.lowlevel.current_statistics().tasks_living < tasks[-1]
