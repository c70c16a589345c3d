import json
import time

import pytest

from tests.cli.conftest import Command
from tests.support.fake_edge import CONTROL, READY, STATISTICS, FakeEdge


@pytest.mark.parametrize(
    ("status", "changes", "code", "line"),
    [
        (200, {}, 0, "ready: serving, 2 of 2 workers"),
        (200, {"workers_ready": 1}, 0, "ready: serving, 1 of 2 workers"),
        (200, {"workers": 1, "workers_ready": 1}, 0, "ready: serving"),
        (503, {"ready": False, "phase": "draining", "workers_ready": 0}, 1, "not ready: draining, 0 of 2 workers"),
    ],
)
def test_a_check_is_one_line_and_an_exit_code(
    status: int, changes: dict[str, object], code: int, line: str, fake: FakeEdge, command: Command
) -> None:
    fake.answers["GET", "/ready"] = (status, {**READY, **changes})
    assert command("state", "--check") == (code, f"{line}\n", "")
    assert [asking.path for asking in fake.asked] == ["/ready"]
    assert json.loads(command("state", "--check", "--json")[1]) == {**READY, **changes}


def test_a_check_of_an_edge_that_is_not_there_is_code_3(command: Command) -> None:
    assert command("state", "--check", "--edge", "unix:///run/no/edge.sock")[0] == 3


def test_one_look_says_whether_the_edge_is_well(fake: FakeEdge, command: Command) -> None:
    fake.answers["GET", "/v1/state"] = (200, {**CONTROL, "applied_at": time.time() - 200})
    code, out, error = command("state")
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        "edge           shop, up 3 h 12 m, trioedge 0.2.0",
        "accepts        ready: serving, 2 of 2 workers",
        "live           1,204 of 20,340 accepted",
        "services       17, version v7, applied 3 m 20 s ago",
        "control plane  answers",
        "reports        120 acknowledged, 2 services to report",
        "open files     312 of 1,024 (30%)",
        "memory         48 MB",
        "loop stall     0.4 ms",
        "backlog        7 clients dropped since the machine began",
        "devices        900 of 1,000 (90%)",
        "",
        "worker  pid  state  generation  live  accepted  silent",
        "     0  811  ready           1   600    10,000    0 ms",
        "     1  812  ready           1   604    10,340       -",
    ]


def test_a_control_plane_that_fails_is_told_with_since_when(fake: FakeEdge, command: Command) -> None:
    failing = {
        "version": "", "applied_at": None, "error": "refused", "failing_since": time.time() - 130,
        "report_error": "503", "unreported": 1, "listeners": 3, "listen_errors": ["tcp://0.0.0.0:80: in use"],
    }  # fmt: skip
    fake.answers["GET", "/v1/state"] = (200, {**CONTROL, **failing})
    lines = command("state")[1].splitlines()
    assert lines[3:8] == [
        "services       17, no version",
        "control plane  fails for 2 m 10 s: refused",
        "reports        not acknowledged, 1 service to report: 503",
        "listeners      3 of services open",
        "not open       tcp://0.0.0.0:80: in use",
    ]


def test_json_has_all_answers(fake: FakeEdge, command: Command) -> None:
    found = json.loads(command("state", "--json")[1])
    assert (found["ready"], found["statistics"], found["state"]) == (READY, STATISTICS, CONTROL)
    assert found["machine"]["memory_bytes"] == 48_000_000
