"""The event stream: its events, its bounds, its end."""

import json
from typing import Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.admin import STATE, FakeAsker, FakeControl, admin_world
from tests.support.edges import make_edge, services
from trioedge.admin.feed import MAX_READERS, QUEUE, Feed, FeedReader, event
from trioedge.admin.refusals import RefusedError
from trioedge.telemetry.log import EdgeLog

STATISTICS: dict[str, Any] = {
    "edge": "e", "version": "1", "phase": "serving", "uptime_seconds": 1.0, "accepted": 0, "live": 0, "in_handshake": 0,
    "refused": {}, "ended": {}, "bytes_up": 0, "bytes_down": 0, "observers_lost": 0, "api_errors": {}, "members": [],
}  # fmt: skip


def ends(position: int, *items: dict[str, Any], lost: int = 0) -> dict[str, Any]:
    return {"place": "0:100", "position": position, "items": [*items], "lost": lost}


def read(chunk: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in chunk.decode().split("\n\n"):
        if block.startswith("event: "):
            name, data = block.removeprefix("event: ").split("\ndata: ")
            found.append((name, json.loads(data)))
    return found


@attrs.define
class Changing(FakeControl):
    """A control plane whose state changes."""

    now: te.ControlState = STATE

    def state(self) -> te.ControlState:
        return self.now


async def test_ends_refusals_and_changes_come_as_events(autojump_clock: object) -> None:
    asker = FakeAsker({"listeners": [], "statistics": [STATISTICS], "ends": [ends(7)]})
    control = Changing()
    feed = Feed(asker, control, EdgeLog())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        await trio.sleep(10)
        assert not asker.asked, "no reader, no question"
        with feed.reading() as reader:
            assert [name for name, _ in read(await reader.take())] == ["statistics"]
            asker.table["ends"] = [ends(9, {"kind": "ended", "id": 1}, {"kind": "refused", "id": 2}, lost=3)]
            control.now = te.ControlState("8", 2.5, 5, "", None, "", 3, 4)
            events = dict(read(await reader.take()))
            assert [*events] == ["lost", "statistics", "state", "services", "ended", "refused"]
            assert (events["lost"], events["services"]) == ({"records": 3}, {"services": 5, "version": "8"})
            assert (events["state"]["version"], events["ended"]["id"]) == ("8", 1)
            asker.table["ends"] = [ends(9)]
            control.now = attrs.evolve(control.now, report_lag=3.5)
            assert [name for name, _ in read(await reader.take())] == ["statistics"], "a lag grows all the time"
        positions = [asked["seen"] for name, asked in asker.asked if name == "ends"]
        assert positions == [None, {"0:100": 7}, {"0:100": 9}]
        nursery.cancel_scope.cancel()


async def test_a_worker_that_is_silent_keeps_its_position(autojump_clock: object) -> None:
    asker = FakeAsker({"listeners": [], "statistics": [STATISTICS], "ends": [ends(7), ends(3) | {"place": "1:101"}]})
    feed = Feed(asker, FakeControl(), EdgeLog())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        with feed.reading():
            await trio.sleep(0.5)
            asker.table["ends"] = [ends(8), None]
            await trio.sleep(2)
        seen = [said["seen"] for name, said in asker.asked if name == "ends"]
        assert seen[-1] == {"0:100": 8, "1:101": 3}
        nursery.cancel_scope.cancel()


async def test_a_slow_reader_loses_the_oldest_and_is_told(autojump_clock: object) -> None:
    reader = FeedReader()
    for number in range(QUEUE + 10):
        reader.put(event("ended", {"id": number}))
    first, second, *_, last = read(await reader.take())
    assert (first, second, last) == (("lost", {"records": 10}), ("ended", {"id": 10}), ("ended", {"id": QUEUE + 9}))


async def test_there_is_room_for_so_many_readers_and_no_more() -> None:
    feed = Feed(FakeAsker(), FakeControl(), EdgeLog())
    readings = [feed.reading() for _ in range(MAX_READERS)]
    for reading in readings:
        feed.check_room()
        reading.__enter__()
    with pytest.raises(RefusedError, match="32 readers of events already") as refused:
        feed.check_room()
    assert refused.value.status == 503
    readings[0].__exit__(None, None, None)
    feed.check_room()


async def test_the_stream_ends_when_the_edge_drains(autojump_clock: object) -> None:
    asker = FakeAsker({"listeners": [], "statistics": [STATISTICS], "ends": [ends(7)]})
    feed = Feed(asker, FakeControl(), EdgeLog())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        with feed.reading() as reader:
            await reader.take()
            asker.table["statistics"] = [STATISTICS | {"phase": "draining"}]
            assert dict(read(await reader.take()))["statistics"]["phase"] == "draining"
            with trio.fail_after(3):
                assert await reader.take() == b""
        with pytest.raises(RefusedError, match="drains"):
            feed.check_room()


async def test_a_cancel_of_a_reader_loses_no_event() -> None:
    reader = FeedReader()
    with trio.move_on_after(0):
        await reader.take()
    reader.put(event("x", 1))
    assert read(await reader.take()) == [("x", 1)]


async def test_a_question_that_fails_is_logged_and_asked_again(autojump_clock: object) -> None:
    asker = FakeAsker()
    feed = Feed(asker, FakeControl(), EdgeLog())
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.run)
            with feed.reading() as reader:
                await trio.sleep(2.5)
                asker.table |= {"statistics": [STATISTICS], "ends": [ends(7)]}
                assert read(await reader.take())[0][0] == "statistics"
            nursery.cancel_scope.cancel()
    assert next(each["event"] for each in logs) == "admin events failed"


async def test_events_of_an_edge_come_over_the_api_until_the_client_leaves(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        sent: list[dict[str, Any]] = []
        left = trio.Event()

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "GET", "path": "", "raw_path": b"/v1/events", "query_string": b"", "headers": [],
            "http_version": "1.1",
        }  # fmt: skip
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.api, scope, receive, send)
            nursery.start_soon(world.feed.run)
            await trio.sleep(0.5)
            await world.edge.connect("192.0.2.9")
            await world.ask("GET", "/v1/none")
            await trio.sleep(1)
            left.set()
            await trio.sleep(0.1)
            assert not world.feed.readers
            nursery.cancel_scope.cancel()
    assert dict(sent[0]["headers"])[b"content-type"] == b"text/event-stream"
    events = read(b"".join(each["body"] for each in sent[1:]))
    assert [name for name, _ in events] == ["statistics", "statistics", "refused"]
    assert (events[0][1]["api_errors"], events[1][1]["api_errors"]) == ({}, {"404": 1})
