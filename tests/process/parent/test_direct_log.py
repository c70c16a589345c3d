import fcntl
import json
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from tests.support.logging_state import logging_restored
from trioedge.process import logs
from trioedge.process.parent.direct_log import DirectStderr, parent_logger


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with logging_restored():
        yield


@contextmanager
def piped() -> Iterator[int]:
    """Have a pipe as stderr, and give its other end."""
    reading, writing = os.pipe()
    before = os.dup(2)
    os.dup2(writing, 2)
    os.close(writing)
    os.set_blocking(reading, False)
    try:
        yield reading
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(reading)


def test_a_line_has_the_form_and_the_level_of_all_others() -> None:
    with piped() as read_end:
        logs.configure("json", "warning")
        log = parent_logger()
        log.info("not this")
        log.warning("child died", child="worker 1")
        line = json.loads(os.read(read_end, 4096))
        assert (line["event"], line["child"], line["level"]) == ("child died", "worker 1", "warning")
        with pytest.raises(BlockingIOError):
            os.read(read_end, 4096)


def test_a_full_pipe_holds_up_no_line() -> None:
    with piped() as read_end:
        size = fcntl.fcntl(2, fcntl.F_SETPIPE_SZ, 4096)
        os.write(2, b"x" * size)
        DirectStderr().write("dropped\n")
        assert os.read(read_end, 2 * size) == b"x" * size
        DirectStderr().write("again\n")
        assert os.read(read_end, 100) == b"again\n"


def test_a_line_that_is_longer_than_a_pipe_takes_at_once_is_cut() -> None:
    with piped() as read_end:
        DirectStderr().write("é" * select.PIPE_BUF + "\n")
        line = os.read(read_end, 3 * select.PIPE_BUF)
        assert len(line) == select.PIPE_BUF
        assert line.endswith(b"\n")


def test_a_stderr_that_nothing_reads_or_that_is_closed_raises_nothing() -> None:
    before = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    os.close(reading)
    try:
        DirectStderr().write("lost\n")
        os.close(2)
        DirectStderr().write("lost\n")
    finally:
        os.dup2(before, 2)
        os.close(before)


def test_a_logger_that_the_program_has_set_up_keeps_its_processors() -> None:
    with piped() as read_end:
        structlog.configure(processors=[lambda *_: {"event": "mine"}, structlog.processors.JSONRenderer()])
        parent_logger().info("x")
        assert json.loads(os.read(read_end, 100)) == {"event": "mine"}
