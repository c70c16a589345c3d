import json

from tests.cli.conftest import Command
from tests.support.fake_edge import STAGE, FakeEdge, page


def test_the_ledger_has_what_each_stage_takes(fake: FakeEdge, command: Command) -> None:
    none = {"calls": 0, "mean_micros": None, "p50_micros": None, "p99_micros": None, "share": None}
    fake.answers["GET", "/v1/stage-times"] = page(STAGE, {**STAGE, **none, "stage": "Pacing"})
    code, out, error = command("stages")
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        "stage        kind      sessions    mean     p50    p99  share",
        "SessionGate  decision    20,340  4.0 µs  4.1 µs  16 µs  75.0%  ███████████████",
        "Pacing       decision         0       -       -      -   0.0%",
    ]


def test_an_edge_that_no_session_reached_has_none(fake: FakeEdge, command: Command) -> None:
    fake.answers["GET", "/v1/stage-times"] = page()
    assert command("stages") == (0, "", "no session has reached a stage\n")
    assert json.loads(command("stages", "--json")[1]) == {"items": [], "next": None}
