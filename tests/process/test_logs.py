import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import structlog

from tests.support.logging_state import logging_restored
from trioedge.process import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with logging_restored():
        yield


def fail() -> None:
    secret = "hunter2"  # noqa: F841 - a log must not show it
    raise ValueError("an unexpected fault")


def test_a_console_line_has_a_time_a_level_an_event_and_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger("trioedge").info("listening", addresses=["tcp://127.0.0.1:1"])
    out, error = capsys.readouterr()
    assert out == ""
    stamp, rest = error.split(" ", 1)
    assert datetime.fromisoformat(stamp).utcoffset() == timedelta(0)
    assert rest.split() == ["[info", "]", "listening", "addresses=['tcp://127.0.0.1:1']"]


def test_a_json_line_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    structlog.get_logger("trioedge").warning("shedding", live=3)
    event = json.loads(capsys.readouterr().err)
    assert datetime.fromisoformat(event.pop("timestamp")).utcoffset() == timedelta(0)
    assert event == {"event": "shedding", "level": "warning", "live": 3}


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_exception_is_written_without_local_variables(
    form: logs.LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(form)
    try:
        fail()
    except ValueError as fault:
        structlog.get_logger("trioedge").error("stage failed", exc_info=fault)
    error = capsys.readouterr().err
    assert "an unexpected fault" in error
    assert "ValueError" in error
    assert "hunter2" not in error.replace('secret = "hunter2"', "")
    if form == "json":
        assert error.count("\n") == 1


def test_of_libraries_that_log_every_request_only_warnings_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="debug")
    for library in ("httpx", "hypercorn.access"):
        logging.getLogger(library).info("something happened")
        logging.getLogger(library).warning("%s is worried", library)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("] ")[1].strip() for line in lines] == ["httpx is worried", "hypercorn.access is worried"]


def test_a_line_of_a_library_has_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    logging.getLogger("some.library").error("gave up after %d tries", 3, extra={"host": "x"})
    event = json.loads(capsys.readouterr().err)
    del event["timestamp"]
    assert event == {"event": "gave up after 3 tries", "level": "error", "host": "x"}


def test_an_event_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="warning")
    structlog.get_logger("trioedge").info("listening")
    logging.getLogger("some.library").info("listening")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_only_a_terminal_gets_colours(no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    logs.configure()
    structlog.get_logger("trioedge").info("listening")
    assert ("\x1b[" in terminal.getvalue()) is coloured


def test_structlog_alone_leaves_logging_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.root.handlers[:], logging.root.level
    logs.configure_structlog()
    structlog.get_logger("trioedge").info("listening")
    assert capsys.readouterr().err.count("listening") == 1
    assert (logging.root.handlers[:], logging.root.level) == before
