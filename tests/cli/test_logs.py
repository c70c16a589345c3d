import io
import json
import logging
import sys
from datetime import datetime, timedelta

import pytest
import structlog

from trioedge.cli import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fail() -> None:
    secret = "hunter2"  # noqa: F841 - what a log must not show
    raise ValueError("nobody expected this")


def test_console_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger("trioedge").info("listening", addresses=["tcp://127.0.0.1:1"])
    out, error = capsys.readouterr()
    assert out == ""
    stamp, rest = error.split(" ", 1)
    assert datetime.fromisoformat(stamp).utcoffset() == timedelta(0)
    assert rest.split() == ["[info", "]", "listening", "addresses=['tcp://127.0.0.1:1']"]


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    structlog.get_logger("trioedge").warning("shedding", live=3)
    event = json.loads(capsys.readouterr().err)
    assert datetime.fromisoformat(event.pop("timestamp")).utcoffset() == timedelta(0)
    assert event == {"event": "shedding", "level": "warning", "live": 3}


@pytest.mark.parametrize("form", ["console", "json"])
def test_exceptions_are_shown_without_local_variables(form: logs.LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(form)
    try:
        fail()
    except ValueError as fault:
        structlog.get_logger("trioedge").error("stage failed", exc_info=fault)
    error = capsys.readouterr().err
    assert "nobody expected this" in error
    assert "ValueError" in error
    assert "hunter2" not in error.replace('secret = "hunter2"', "")
    if form == "json":
        assert error.count("\n") == 1


def test_what_libraries_say_of_each_request_or_file_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="debug")
    for library in ("httpx", "watchfiles.main"):
        logging.getLogger(library).info("something happened")
        logging.getLogger(library).warning("%s is worried", library)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("] ")[1].strip() for line in lines] == ["httpx is worried", "watchfiles.main is worried"]


def test_what_libraries_log_looks_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    logging.getLogger("some.library").error("gave up after %d tries", 3, extra={"host": "x"})
    event = json.loads(capsys.readouterr().err)
    del event["timestamp"]
    assert event == {"event": "gave up after 3 tries", "level": "error", "host": "x"}


def test_below_the_level_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
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
