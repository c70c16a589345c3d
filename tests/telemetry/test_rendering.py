import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from trioedge.telemetry.line_writer import writer_of
from trioedge.telemetry.rendering import LogFormat, Stderr, plain_logger, rendering
from trioedge.telemetry.tracebacks import detached


@contextmanager
def piped() -> Iterator[int]:
    """Make stderr a pipe, and give its other end. It is no fixture: pytest sets stderr again behind these."""
    reader, fd = os.pipe()
    before = sys.stderr
    try:
        with os.fdopen(fd, "w") as sys.stderr:
            yield reader
    finally:
        sys.stderr = before
        os.close(reader)


def rendered(form: LogFormat, **event: object) -> str:
    line: object = {"event": "x", **event}
    for processor in rendering(form):
        line = processor(None, "error", line)  # type: ignore[arg-type]
    return str(line)


def test_a_stderr_that_is_closed_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    Stderr("json").write("x\n")
    plain_logger().error("x")


def test_a_stream_in_memory_has_the_line_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := io.StringIO())
    Stderr("console").write("x\n")
    assert stderr.getvalue() == "x\n"


def test_a_descriptor_gets_its_lines_from_a_thread() -> None:
    with piped() as pipe:
        stderr = Stderr("console")
        stderr.write("x\n")
        stderr.write("\udcff\n")
        stderr.flush()
        assert writer_of(sys.stderr.fileno()).flush(10)
        assert os.read(pipe, 100) == b"x\n\\udcff\n"


@pytest.mark.parametrize("form", ["console", "json"])
def test_the_line_about_lost_ones_looks_as_the_others_do(form: LogFormat) -> None:
    with piped():
        Stderr(form)
        says = writer_of(sys.stderr.fileno()).says_lost
    assert says is not None
    line = says(7).decode()
    assert line.endswith("\n")
    if form == "json":
        event = json.loads(line)
        assert event.pop("timestamp")
        assert event == {"event": "log lines dropped", "level": "warning", "count": 7}
    else:
        assert line.split()[1:] == ["[warning", "]", "log", "lines", "dropped", "count=7"]


def test_a_program_without_a_log_of_its_own_gets_level_info_on_stderr() -> None:
    with piped() as pipe:
        log = plain_logger()
        log.debug("a")
        log.info("b")
        assert writer_of(sys.stderr.fileno()).flush(10)
        assert os.read(pipe, 1000).split()[1:] == [b"[info", b"]", b"b"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_that_is_text_is_shown_and_not_the_exception_without_one(form: LogFormat) -> None:
    line = rendered(form, traceback="Traceback:\n  here\nKeyError: 1", exc_info=KeyError(2))
    if form == "json":
        assert json.loads(line) == {"event": "x", "exception": "Traceback:\n  here\nKeyError: 1"}
    else:
        assert line.endswith("\nTraceback:\n  here\nKeyError: 1")
        assert "KeyError: 2" not in line


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_exception_of_a_library_has_no_local_variables(form: LogFormat) -> None:
    try:
        password = "hunter" + str(2)
        raise KeyError(len(password))
    except KeyError as fault:
        line = rendered(form, exc_info=fault)
    assert "KeyError: 7" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("text", ["a\nevent=fine", "\x1b[2J", "\r", "\u202e", "\x9b", "\u2028", "\x00"])
def test_no_value_ends_a_line_or_reaches_a_terminal(text: str, form: LogFormat) -> None:
    assert rendered(form, device=text, names=[text], event=text).isprintable()
    try:
        raise KeyError(text)
    except KeyError as fault:
        lines = rendered(form, exc_info=ValueError(text)) + rendered(form, traceback=detached(fault))
    assert all(each.isprintable() or each == "\n" for each in lines)


def test_words_are_left_as_they_are() -> None:
    assert rendered("console", device="naïve phone", addresses=["a"]).split()[1:] == [
        "addresses=['a']", "device='naïve", "phone'",
    ]  # fmt: skip


def test_no_logger_of_a_program_is_changed() -> None:
    before = structlog.get_config()
    plain_logger()
    assert structlog.get_config() == before
