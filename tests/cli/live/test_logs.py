import json
import signal
import subprocess
import time
from pathlib import Path
from threading import Event

import pytest

from tests.cli.conftest import Command
from tests.support.command_line import COMMAND
from tests.support.fake_edge import REFUSED, Asking, FakeEdge, page

LINE = (
    "time=2026-09-21T14:13:20.250Z id=17 outcome=refused reason=source listener=tcp://0.0.0.0:443 peer=192.0.2.7 "
    "source=192.0.2.7 service=shop device=phone upstream=tcp://10.0.0.5:6379 bytes_up=12345 bytes_down=6789000 "
    'seconds=0.001 stage=SourceMatch detail="192.0.2.7 is rejected"'
)
ENDED = {**REFUSED, "id": 20, "kind": "ended", "reason": "finished", "detail": "", "stage": "", "device": None}


def events(*pairs: tuple[str, object]) -> bytes:
    return b"".join(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in pairs)


def test_ends_are_lines_of_an_access_log_those_before_first_and_each_once(fake: FakeEdge, command: Command) -> None:
    fake.events = events(
        ("statistics", {}), ("refused", REFUSED), ("ended", ENDED), ("lost", {"records": 3}),
        ("ended", {**ENDED, "id": 21}),
    )  # fmt: skip
    code, out, error = command("logs", "--last", "1")
    assert out.splitlines()[0] == LINE
    assert [line.split()[1] for line in out.splitlines()] == ["id=17", "id=20", "id=21"]
    assert "outcome=ended reason=finished" in out.splitlines()[1]
    assert "detail" not in out.splitlines()[1]
    assert error.splitlines() == [
        "3 lines were lost: this reader is too slow, or there are too many",
        f"trioedge: {fake.address} has ended",
    ]
    assert code == 3
    assert [asking.query for asking in fake.asked if asking.path == "/v1/recent"] == [{"limit": "1"}]


def test_json_is_a_line_an_end(fake: FakeEdge, command: Command) -> None:
    fake.events = events(("ended", ENDED))
    fake.answers["GET", "/v1/recent"] = page()
    assert [json.loads(line) for line in command("logs", "--json")[1].splitlines()] == [ENDED]


def test_without_the_last_ones_only_new_ones_come(fake: FakeEdge, command: Command) -> None:
    fake.events = events(("ended", ENDED))
    assert len(command("logs", "--last", "0")[1].splitlines()) == 1
    assert not [asking for asking in fake.asked if asking.path == "/v1/recent"]


def test_the_level_is_put_back_when_the_edge_ends_the_stream(fake: FakeEdge, command: Command) -> None:
    fake.events = events(("ended", ENDED))
    command("logs", "--level", "debug")
    assert [asking.body for asking in fake.asked if asking.method == "PUT"] == [{"level": "debug"}, {"level": "info"}]


def test_a_level_that_cannot_be_put_back_is_told(fake: FakeEdge, command: Command) -> None:
    fake.events = events(("ended", ENDED))

    def once(asking: Asking) -> tuple[int, object]:
        fake.answers["PUT", "/v1/log-level"] = (500, {"error": "a fault"})
        return 200, asking.body

    fake.answers["PUT", "/v1/log-level"] = once
    assert "the edge's log stays at debug: a fault" in command("logs", "--level", "debug")[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_puts_the_level_back_and_ends_with_0(number: signal.Signals, fake: FakeEdge, tmp_path: Path) -> None:
    fake.events, fake.holding = events(("ended", ENDED)), Event()
    with subprocess.Popen(
        [*COMMAND, "logs", "--level", "debug", "--edge", fake.address], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "id=20" not in process.stdout.readline():
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(20) == 0
    fake.holding.set()
    assert [asking.body for asking in fake.asked if asking.method == "PUT"] == [{"level": "debug"}, {"level": "info"}]


def test_the_level_alone_is_printed_or_set(fake: FakeEdge, command: Command) -> None:
    assert command("log-level") == (0, "info\n", "")
    assert command("log-level", "debug") == (0, "debug\n", "")
    assert json.loads(command("log-level", "--json")[1]) == {"level": "info"}
    assert command("log-level", "loud")[0] == 2
