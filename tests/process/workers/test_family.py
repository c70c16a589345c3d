from collections.abc import Iterator
from typing import Any

import pytest
import structlog

import trioedge as te
from tests.support.logging_state import logging_restored
from trioedge.process.exit_code import ExitCode
from trioedge.process.workers import family
from trioedge.process.workers.family import run_workers


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with logging_restored():
        yield


class FakeParent:
    """Notes what it is made of, and is its own children."""

    code = ExitCode.DRAINED
    made: "FakeParent"

    def __init__(self, edges: dict[str, te.Edge], workers: int, **more: Any) -> None:
        self.edges, self.workers, self.more = edges, workers, more
        FakeParent.made = self

    def run(self) -> ExitCode:
        del self.edges["ended"]
        structlog.configure(processors=[])
        assert self.more["be_worker"]("w") == ExitCode.CUT
        assert self.more["be_control"]("c") == ExitCode.FAULT
        return self.code


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []

    def be(name: str, code: ExitCode) -> Any:
        def run(edges: dict[str, te.Edge], *more: Any) -> ExitCode:
            found.append((name, [*edges], *more, bool(structlog.get_config()["processors"])))
            return code

        return run

    monkeypatch.setattr(family, "Parent", FakeParent)
    monkeypatch.setattr(family, "be_worker", be("worker", ExitCode.CUT))
    monkeypatch.setattr(family, "be_control", be("control", ExitCode.FAULT))
    return found


EDGES = {"a": te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://127.0.0.1:1")), "ended": te.Edge(
    "tcp://127.0.0.1:0", [], te.Forward("tcp://127.0.0.1:1"))}  # fmt: skip


def test_children_log_as_the_program_has_set_up_and_serve_the_edges_that_have_not_ended(calls: list[Any]) -> None:
    assert run_workers(EDGES, print, None, workers=3, stall_seconds=2) is ExitCode.DRAINED
    assert calls == [("worker", ["a"], "w", True), ("control", ["a"], "c", print, None, True)]
    assert [*EDGES] == ["a", "ended"]
    made = FakeParent.made
    assert (made.workers, made.more["stall_seconds"]) == (3, 2)


@pytest.mark.parametrize(
    ("code", "error"), [(ExitCode.CONFIGURATION, te.ConfigurationError), (ExitCode.LISTEN, te.ListenError)]
)
@pytest.mark.usefixtures("calls")
def test_a_program_that_cannot_start_raises_as_one_process_does(
    monkeypatch: pytest.MonkeyPatch, code: ExitCode, error: type[Exception]
) -> None:
    monkeypatch.setattr(FakeParent, "code", code)
    with pytest.raises(error, match="the line of the log before says why"):
        run_workers(EDGES, print, None, workers=2, stall_seconds=5)
