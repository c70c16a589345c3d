"""The death of a worker in words, against canned answers."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fake_edge import SESSION, STATISTICS, Asking, FakeEdge, page
from trioedge.addresses.address import parse_address
from trioedge.cli.client.client import EdgeClient
from trioedge.cli.demo.clients import Seen
from trioedge.cli.demo.killing import kill_worker

WORKERS: Any = STATISTICS["workers"]
FIRST, SECOND = WORKERS


class Answers:
    """Gives one answer after another, and the last one again and again."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self._answers = [*answers]

    def __call__(self, asking: Asking) -> tuple[int, Any]:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def workers(*found: dict[str, Any]) -> tuple[int, Any]:
    return 200, STATISTICS | {"workers": [*found]}


def session(number: int, worker: int) -> dict[str, Any]:
    return SESSION | {"id": number, "worker": worker}


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: found.append(arguments))
    return found


def client_of(fake: FakeEdge) -> EdgeClient:
    return EdgeClient(parse_address(fake.address))


async def test_the_sessions_that_nobody_knows_any_more_are_lost(fake: FakeEdge, kills: list[tuple[int, int]]) -> None:
    starting = SECOND | {"pid": 900, "state": "starting"}
    fake.answers["GET", "/v1/statistics"] = Answers(
        workers(FIRST, SECOND), workers(FIRST, SECOND), workers(FIRST), workers(FIRST, starting),
        workers(FIRST, starting | {"state": "ready"}),
    )  # fmt: skip
    fake.answers["GET", "/v1/sessions"] = Answers(
        page(*(session(*each) for each in ((1, 0), (2, 1), (3, 1), (4, 0), (5, 0)))), page(session(1, 0), session(9, 1))
    )
    fake.answers["GET", "/v1/recent"] = page(session(4, 0))
    said = await kill_worker(client_of(fake), Seen())
    assert kills == [(SECOND["pid"], signal.SIGKILL)]
    first, _, rest = said.partition(": ")
    assert first.startswith("worker 1 killed, replaced in ")
    assert rest == "its 2 sessions lost, 1 others, 0 refused"
    assert len(said) < 80


async def test_clients_that_were_refused_meanwhile_are_counted(
    fake: FakeEdge, kills: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(refused=3)

    def kill(*_: int) -> None:
        seen.refused += 2
        fake.answers["GET", "/v1/statistics"] = workers(FIRST, SECOND | {"pid": 900})

    monkeypatch.setattr(os, "kill", kill)
    assert (await kill_worker(client_of(fake), seen)).endswith("2 refused")


def gone(*_: int) -> None:
    raise ProcessLookupError(3, "No such process")


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda patch, fake: patch.setattr(os, "kill", gone), "No such process"),
        (lambda patch, fake: fake.answers.update({("GET", "/v1/sessions"): (500, {"error": "a fault"})}), "a fault"),
    ],
    ids=["the worker is gone", "the edge refuses"],
)
async def test_a_fault_is_said(
    break_it: Callable[[pytest.MonkeyPatch, FakeEdge], None],
    says: str,
    fake: FakeEdge,
    kills: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_it(monkeypatch, fake)
    said = await kill_worker(client_of(fake), Seen())
    assert said.startswith("the death of a worker: ")
    assert says in said
