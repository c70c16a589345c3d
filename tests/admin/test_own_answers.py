"""What the API answers itself."""

import pytest
import trio

from tests.support.admin import FakeAsker, FakeControl, api_of, ask
from trioedge.admin.feed import Feed
from trioedge.admin.history import History
from trioedge.admin.http.api import BODY_SECONDS
from trioedge.admin.operations import OPERATIONS
from trioedge.admin.own_answers import OwnAnswers
from trioedge.control import snapshot_lines
from trioedge.telemetry.log import EdgeLog


def test_every_operation_of_its_own_is_in_its_table_but_those_of_others() -> None:
    asker, control, log = FakeAsker(), FakeControl(), EdgeLog()
    table = OwnAnswers(asker, control, History(asker, log), Feed(asker, control, log)).table()
    assert {each.name for each in OPERATIONS if each.own} - {*table} == {"metrics"}


async def test_an_operation_that_has_no_answer_yet_is_404() -> None:
    answer = await ask(api_of(), "GET", "/metrics")
    assert (answer.status, answer.json) == (404, {"error": "this edge has no /metrics"})


async def test_the_history_is_empty_at_first() -> None:
    assert (await ask(api_of(), "GET", "/v1/history")).json == {"seconds": 5.0, "points": []}


async def test_a_snapshot_that_does_not_come_is_408(autojump_clock: object) -> None:
    api = api_of()
    sent = []

    async def receive() -> object:
        await trio.sleep_forever()

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "raw_path": b"/v1/apply", "query_string": b"", "headers": [],
        "http_version": "1.1",
    }  # fmt: skip
    await api(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 408  # type: ignore[index]
    assert trio.current_time() == BODY_SECONDS


async def test_a_snapshot_above_its_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_lines, "MAX_BYTES", 100)
    answer = await ask(api_of(), "POST", "/v1/plan", b'{"version": "8", "full": true}\n' + b"\n" * 100)
    assert answer.status == 422
    assert "more than 100 bytes" in answer.json["faults"][0]
