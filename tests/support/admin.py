"""The admin API without a socket: an edge that answers what it is told to, and requests over ASGI."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

import trioedge as te
from trioedge.admin.asking import Answers, LocalAsker, Parameters, WorkerAnswer, WorkerFacts
from trioedge.admin.controlling import LocalControl, RestartState
from trioedge.admin.feed import Feed
from trioedge.admin.history import History
from trioedge.admin.http.api import AdminApi
from trioedge.admin.local import Local
from trioedge.admin.metrics.scrape import Scrape
from trioedge.admin.operations import LOCAL
from trioedge.admin.own_answers import OwnAnswers
from trioedge.edge import local_of
from trioedge.services.control_plane import SnapshotError
from trioedge.services.snapshot import Plan, Snapshot
from trioedge.services.stage_keys import NO_KEYS, StageKeys
from trioedge.telemetry.log import EdgeLog
from trioedge.testing.rehearsal import Rehearsal, open_edge
from trioedge.testing.upstream import Script, echo

STATE = te.ControlState("7", 1.5, 2, "", None, "", 3, 4)


@attrs.define
class FakeControl:
    """An edge as a whole; it notes what it is asked."""

    outcome: Plan | SnapshotError = attrs.field(factory=Plan)
    stage_keys: StageKeys = NO_KEYS
    snapshots: list[Snapshot] = attrs.field(factory=list)
    applied: list[Snapshot] = attrs.field(factory=list)
    drains: list[float | None] = attrs.field(factory=list)
    restarted: RestartState = attrs.field(factory=lambda: RestartState(3))

    async def plan(self, snapshot: Snapshot, /) -> Plan:
        self.snapshots.append(snapshot)
        if isinstance(self.outcome, SnapshotError):
            raise self.outcome
        return self.outcome

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        self.applied.append(snapshot)
        return await self.plan(snapshot)

    def state(self) -> te.ControlState:
        return STATE

    def restart(self) -> None:
        self.restarted = attrs.evolve(self.restarted, under_way=True)

    def restarts(self) -> RestartState:
        return self.restarted

    def drain(self, seconds: float | None, /) -> None:
        self.drains.append(seconds)


@attrs.define
class FakeAsker:
    """Workers that answer by a table: for each question the answers of all of them; None for one that is missing."""

    table: dict[str, Sequence[Any]] = attrs.field(factory=lambda: {"listeners": ()})
    asked: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)

    async def ask(self, operation: str, parameters: Parameters, /) -> Answers:
        self.asked.append((operation, {**parameters}))
        return answers(*self.table[operation])


def answers(*values: Any) -> Answers:
    """Give the answers of workers 0, 1, …; None for one that is missing."""
    workers = [WorkerFacts(number=number, pid=100 + number) for number in range(len(values))]
    given = [WorkerAnswer(worker, value) for worker, value in zip(workers, values, strict=True) if value is not None]
    return Answers(given, [worker for worker, value in zip(workers, values, strict=True) if value is None])


def api_of(
    controlled: FakeControl | None = None, asker: FakeAsker | None = None, token: te.Secret | None = None
) -> AdminApi:
    """Make the API of a fake edge."""
    asked = FakeAsker() if asker is None else asker
    control, log = FakeControl() if controlled is None else controlled, EdgeLog()
    own = OwnAnswers(asked, control, History(asked, log), Feed(asked, control, log))
    return AdminApi(asked, log, own.table(), token)


@attrs.define
class World:
    """An edge in memory with its admin API.

    Attributes:
        edge: the edge and its clients.
        api: its API.
        local: the edge as the API sees it.
        drained: how it was drained.
        feed: its events; a test runs it.
    """

    edge: Rehearsal
    api: AdminApi
    local: Local
    drained: list[float | None]
    feed: Feed

    async def ask(self, method: str, target: str, body: object = None) -> "Answered":
        """Ask; the body is a table."""
        return await ask(self.api, method, target, b"" if body is None else json.dumps(body).encode())

    async def get(self, target: str) -> Any:
        """Give the answer to a GET, which must be good."""
        answered = await ask(self.api, "GET", target)
        assert answered.status == 200, answered.body
        return answered.json


@asynccontextmanager
async def admin_world(edge: te.Edge, script: Script = echo, *, metrics_services: int = 0) -> AsyncIterator[World]:
    """Serve an edge in memory, with its API over ASGI, for the length of the block."""
    async with open_edge(edge, script) as world:
        local = local_of(edge)
        drained: list[float | None] = []
        asker, control = LocalAsker(local, LOCAL), LocalControl(local, edge.stage_keys, drained.append)
        log = local.run.log
        feed = Feed(asker, control, log)
        own = OwnAnswers(asker, control, History(asker, log), feed)
        scrape = Scrape(asker, control, metrics_services)
        api = AdminApi(asker, log, {**own.table(), "metrics": scrape.answer})
        scrape.errors = feed.errors = api.errors
        with local.recording():
            yield World(world, api, local, drained, feed)


@attrs.frozen
class Answered:
    """The answer to a request."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    api: AdminApi, method: str, target: str, body: bytes = b"", *, headers: Mapping[bytes, bytes] | None = None,
    size: int = 1 << 16,
) -> Answered:  # fmt: skip
    """Ask over ASGI; the body comes in parts of `size` bytes."""
    path, _, query = target.partition("?")
    events: list[dict[str, Any]] = [
        {"type": "http.request", "body": body[start : start + size], "more_body": True}
        for start in range(0, len(body), size)
    ]
    events.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return events.pop(0) if events else {"type": "http.disconnect"}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "http_version": "1.1", "headers": [*(headers or {}).items()],
    }  # fmt: skip
    await api(scope, receive, send)
    start, *rest = sent
    return Answered(start["status"], dict(start["headers"]), b"".join(each["body"] for each in rest))
