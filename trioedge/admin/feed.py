"""The event stream: one task asks, and each of its readers has a bounded queue.

| event | when | data |
| --- | --- | --- |
| ``statistics`` | each second | as ``GET /v1/statistics`` |
| ``ended``, ``refused`` | a session has ended, or was refused | as an item of ``GET /v1/recent`` |
| ``services`` | a snapshot was applied | ``{"services": 17, "version": "7"}`` |
| ``state`` | the connection to the control plane has changed, but for its `report_lag` | as ``GET /v1/state`` |
| ``lost`` | records were left out, because there were too many or the reader is slow | ``{"records": 12}`` |

| a reader | event | action |
| --- | --- | --- |
| is one of :data:`MAX_READERS` | one more comes | refuse it |
| reads | there are events | it gets all of them |
| is slow | more than :data:`QUEUE` events wait | drop the oldest, and tell it how many |
| does not read at all | the server's deadline of a write passes | the server closes its connection |
| any | the edge drains | its stream ends |

Nothing is asked while there is no reader.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import attrs
import trio

from ..control.supervisor import ControlState
from ..loop.slices import Stepwise, in_slices
from ..telemetry.log import EdgeLog
from .asking import Answers, EdgeAsker, Parameters
from .controlling import Controlled, state_of
from .refusals import RefusedError
from .topics.ends import merged_ends, place_of
from .topics.listeners import with_listeners
from .topics.statistics import merge_statistics

POLL_SECONDS: Final = 1.0
QUEUE: Final = 256
"""Events that wait for one reader."""

MAX_READERS: Final = 32

OVER: Final = ("draining", "stopped")
"""The phases in which no event comes any more."""


class FeedReader:
    """One reader of the events."""

    def __init__(self) -> None:
        """Have no event yet."""
        self._events: deque[bytes] = deque()
        self._lost = 0
        self._wakeup = trio.Event()
        self._over = False

    def put(self, event: bytes) -> None:
        """Add an event; the oldest one is dropped if there are too many."""
        if len(self._events) == QUEUE:
            self._events.popleft()
            self._lost += 1
        self._events.append(event)
        self._wakeup.set()

    def lose(self, records: int) -> None:
        """Count records that were left out for every reader."""
        self._lost += records

    def end(self) -> None:
        """End the stream behind what waits."""
        self._over = True
        self._wakeup.set()

    async def take(self) -> bytes:
        """Wait for events, and give all of them; nothing at the end. After a cancel none is lost."""
        while not self._events and not self._over:
            await self._wakeup.wait()
            self._wakeup = trio.Event()
        lost, self._lost = self._lost, 0
        events = [event("lost", {"records": lost})] if lost else []
        events += self._events
        self._events.clear()
        return b"".join(events)


@attrs.define(eq=False)
class Feed:
    """The events of an edge.

    Attributes:
        asker: asks every process that serves the edge.
        controlled: the edge as a whole.
        log: for faults.
        readers: those that there are.
        errors: how often the API has answered each status of an error.
    """

    asker: EdgeAsker
    controlled: Controlled
    log: EdgeLog
    readers: set[FeedReader] = attrs.field(factory=set, init=False)
    errors: Mapping[int, int] = attrs.field(factory=dict, init=False)
    _came: trio.Event = attrs.field(factory=trio.Event, init=False)
    _over: bool = attrs.field(default=False, init=False)
    _seen: dict[str, int] | None = attrs.field(default=None, init=False)
    _told: ControlState | None = attrs.field(default=None, init=False)

    def check_room(self) -> None:
        """Refuse one more reader where there are too many, or the edge drains.

        Raises:
            RefusedError: 503.
        """
        if self._over:
            raise RefusedError(503, "the edge drains: there are no events any more")
        if len(self.readers) >= MAX_READERS:
            raise RefusedError(503, f"there are {MAX_READERS} readers of events already")

    @contextmanager
    def reading(self) -> Iterator[FeedReader]:
        """Give a reader while the block lasts; :meth:`check_room` comes first."""
        reader = FeedReader()
        self.readers.add(reader)
        self._came.set()
        try:
            yield reader
        finally:
            self.readers.discard(reader)

    async def run(self) -> None:
        """Ask, each second, while there is a reader, until cancelled or the edge drains."""
        while not self._over:
            if not self.readers:
                self._seen = self._told = None
                self._came = trio.Event()
                await self._came.wait()
            try:
                await self._poll()
            except Exception as fault:
                self.log.fault("admin events failed", fault)
            await trio.sleep(POLL_SECONDS)
        for each in self.readers:
            each.end()

    async def _poll(self) -> None:
        """Ask once, and give every reader what is new."""
        answers = dict[str, Answers]()
        state = self.controlled.state()
        async with trio.open_nursery() as nursery:  # at once, because a silent worker takes 2 s for each
            for operation, parameters in (("ends", {"seen": self._seen}), ("statistics", {}), ("listeners", {})):
                nursery.start_soon(self._ask, operation, parameters, answers)
        ends = answers["ends"]
        seen, items, lost = merged_ends(ends.values)
        silent = {place_of(each.number, each.pid) for each in ends.missing}
        self._seen = {place: each for place, each in (self._seen or {}).items() if place in silent} | seen
        statistics = merge_statistics(answers["statistics"], {})
        statistics["api_errors"] = {str(status): count for status, count in self.errors.items()}
        state = with_listeners(state, answers["listeners"])
        events = await in_slices(_events(statistics, items, state, self._told))
        self._told = state
        for reader in self.readers:
            if lost:
                reader.lose(lost)
            for each in events:
                reader.put(each)
        self._over = statistics["phase"] in OVER

    async def _ask(self, operation: str, parameters: Parameters, answers: dict[str, Answers]) -> None:
        answers[operation] = await self.asker.ask(operation, parameters)


def event(name: str, data: Any) -> bytes:
    """Write one server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def _events(
    statistics: dict[str, Any], items: list[dict[str, Any]], state: ControlState, told: ControlState | None
) -> Stepwise[list[bytes]]:
    """Write the events of one look: `told` is the state of the look before, None at the first one."""
    events = [event("statistics", statistics)]
    yield
    if told is not None and attrs.evolve(state, report_lag=told.report_lag) != told:
        events.append(event("state", state_of(state)))
    if told is not None and state.applied_at != told.applied_at:
        events.append(event("services", {"services": state.services, "version": state.version}))
    for item in items:
        events.append(event(item["kind"], item))
        yield
    return events
