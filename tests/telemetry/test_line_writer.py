import errno
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from trioedge.telemetry import line_writer
from trioedge.telemetry.line_writer import Descriptor, LineWriter, descriptor_of, lines_lost, writer_of

LONG = 10
"""Seconds; no test waits so long."""


class Gate:
    """A sink that waits until it is opened, and fails as often as it is told."""

    def __init__(self, *, failures: int = 0) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.written: list[bytes] = []
        self._failures = failures

    def write(self, data: bytes) -> None:
        self.entered.set()
        assert self.opened.wait(LONG)
        if self._failures:
            self._failures -= 1
            raise OSError(errno.ENOSPC, "no space")
        self.written.append(data)


def says(count: int) -> bytes:
    return b"lost %d\n" % count


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        os.close(fd)


def test_lines_are_written_in_order() -> None:
    gate = Gate()
    gate.opened.set()
    writer = LineWriter(gate)
    for number in range(100):
        writer.write(b"%d\n" % number)
    assert writer.flush(LONG)
    assert gate.written == [b"%d\n" % number for number in range(100)]
    assert writer.lost == 0


def test_a_sink_that_waits_delays_no_caller_and_lines_beyond_the_bound_are_counted_and_said() -> None:
    gate = Gate()
    writer = LineWriter(gate, says_lost=says, max_bytes=30)
    for _ in range(5):
        writer.write(b"123456789\n")
    assert gate.entered.wait(LONG)
    assert writer.lost == 2
    assert not writer.flush(0)
    gate.opened.set()
    assert writer.flush(LONG)
    writer.write(b"later\n")
    assert writer.flush(LONG)
    assert gate.written == [b"123456789\n"] * 3 + [b"lost 2\n", b"later\n"]


def test_lines_of_one_write_are_lost_together() -> None:
    gate = Gate()
    writer = LineWriter(gate, says_lost=says, max_bytes=5)
    writer.write(b"1\n2\n3\n", lines=3)
    assert writer.lost == 3
    gate.opened.set()
    writer.write(b"4\n")
    assert writer.flush(LONG)
    assert gate.written == [b"4\n", b"lost 3\n"]


def test_lines_that_cannot_be_written_are_counted_and_said_with_the_next_one_that_can() -> None:
    gate = Gate(failures=2)
    gate.opened.set()
    writer = LineWriter(gate, says_lost=says)
    for line in (b"1\n", b"2\n", b"3\n"):
        writer.write(line)
    assert writer.flush(LONG)
    assert (writer.lost, gate.written) == (2, [b"3\n", b"lost 2\n"])
    writer.write(b"4\n")
    assert writer.flush(LONG)
    assert gate.written[2:] == [b"4\n"]


def test_a_reader_that_is_always_behind_is_told_as_well() -> None:
    class Busy:
        def __init__(self) -> None:
            self.written: list[bytes] = []

        def write(self, data: bytes) -> None:
            self.written.append(data)
            if len(self.written) < 20:
                for _ in range(3):  # more than the queue takes, so it never becomes empty
                    writer.write(b"123456789\n")

    busy = Busy()
    writer = LineWriter(busy, says_lost=says, max_bytes=30)
    writer.write(b"123456789\n")
    while len(busy.written) < 20:
        assert writer.flush(LONG)
    assert any(line.startswith(b"lost") for line in busy.written[:20])


def test_a_system_without_threads_loses_lines_and_no_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    gate.opened.set()
    writer = LineWriter(gate, says_lost=says)
    with monkeypatch.context() as patch:

        def refuse(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        writer.write(b"1\n")
        assert writer.flush(LONG)
    writer.write(b"2\n")
    assert writer.flush(LONG)
    assert gate.written == [b"2\n", b"lost 1\n"]


def test_a_closed_writer_writes_what_is_queued_then_acts_and_takes_no_more() -> None:
    gate = Gate()
    writer = LineWriter(gate)
    acted: list[list[bytes]] = []
    writer.write(b"1\n")
    assert not writer.close(lambda: acted.append(gate.written[:]), 0)
    writer.write(b"2\n")
    gate.opened.set()
    writer.close(lambda: None, LONG)
    assert (acted, writer.lost) == ([[b"1\n"]], 1)
    assert not [thread for thread in threading.enumerate() if thread is writer.thread]


def test_a_writer_without_a_line_acts_at_its_close_without_a_thread_and_holds_an_exception_back() -> None:
    acted: list[str] = []
    writer = LineWriter(Gate())
    assert writer.close(lambda: acted.append("closed"), 0)
    assert (acted, writer.thread) == (["closed"], None)
    writer.write(b"1\n")
    assert (writer.lost, writer.thread) == (1, None)
    assert LineWriter(Gate()).close(lambda: 1 // 0, 0)


def test_a_flush_of_a_closed_writer_waits_for_its_last_line_and_no_longer() -> None:
    gate = Gate()
    writer = LineWriter(gate)
    writer.write(b"1\n")
    writer.close(lambda: None, 0)
    assert not writer.flush(0)
    gate.opened.set()
    assert writer.flush(LONG)
    assert gate.written == [b"1\n"]
    assert writer.flush(0)


def test_an_exception_of_an_action_ends_no_thread() -> None:
    gate = Gate()
    gate.opened.set()
    writer = LineWriter(gate)
    writer.call(lambda: 1 / 0)
    writer.call(sys.exit)
    writer.write(b"1\n")
    assert writer.flush(LONG)
    assert gate.written == [b"1\n"]


@pytest.mark.parametrize("fault", [SystemExit(1), KeyboardInterrupt(), BaseException("no")])
def test_any_exception_of_a_sink_costs_its_line_and_no_later_one(fault: BaseException) -> None:
    class Ends:
        written: list[bytes] = []  # noqa: RUF012

        def write(self, data: bytes) -> None:
            if data == b"1\n":
                raise fault
            self.written.append(data)

    sink = Ends()
    writer = LineWriter(sink)
    writer.write(b"1\n")
    writer.write(b"2\n")
    assert writer.flush(LONG)
    assert (sink.written, writer.lost) == ([b"2\n"], 1)


def test_a_pipe_that_does_not_block_gets_all_of_a_line_once_it_is_read(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    os.set_blocking(fd, False)
    sink = threading.Thread(target=Descriptor(fd).write, args=[b"x" * 200_000 + b"\n"])
    sink.start()
    read = b""
    while not read.endswith(b"\n"):
        assert select.select([reader], [], [], LONG)[0]
        read += os.read(reader, 65_536)
    sink.join()
    assert read == b"x" * 200_000 + b"\n"


def test_after_half_a_line_the_next_one_begins_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    written, room = [], 4

    def write(fd: int, data: bytes) -> int:
        nonlocal room
        part = bytes(data)[:room]
        room -= len(part)
        if not part:
            raise OSError(errno.ENOSPC, "no space")
        written.append(part)
        return len(part)

    monkeypatch.setattr(os, "write", write)
    sink = Descriptor(7)
    with pytest.raises(OSError, match="no space"):
        sink.write(b"first\n")
    with pytest.raises(OSError, match="no space"):
        sink.write(b"second\n")
    room = 100
    sink.write(b"third\n")
    sink.write(b"fourth\n")
    assert b"".join(written) == b"firs" + b"\nthird\n" + b"fourth\n"


def test_one_descriptor_has_one_writer(pipe: tuple[int, int]) -> None:
    assert writer_of(pipe[1]) is writer_of(pipe[1])
    assert writer_of(pipe[1]) is not writer_of(pipe[0])


def test_a_stream_that_is_closed_or_in_memory_has_no_descriptor() -> None:
    class Closed:
        def fileno(self) -> int:
            raise ValueError("I/O operation on closed file")

    assert descriptor_of(None) is None
    assert descriptor_of(Closed()) is None  # type: ignore[arg-type]
    assert descriptor_of(sys.__stderr__) == 2


FORKS = """\
import os, warnings
warnings.simplefilter("ignore")
from trioedge.telemetry.line_writer import writer_of
writer = writer_of(1)
writer.write(b"before\\n")
writer.flush(10)
child = os.fork()
writer.write(b"child\\n" if child == 0 else b"parent\\n")
if child:
    os.waitpid(child, 0)
"""


def test_a_process_that_was_forked_off_writes_its_own_lines_and_an_end_flushes() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60, check=True)
    assert sorted(done.stdout.split()) == ["before", "child", "parent"]
    assert done.stderr == ""


def test_a_flush_of_all_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    writer = LineWriter(gate)
    writer.write(b"1\n")
    line_writer.flush_all(0.0)
    assert gate.written == []
    gate.opened.set()
    line_writer.flush_all(LONG)
    assert gate.written == [b"1\n"]


def test_lost_lines_of_all_writers_are_counted_together() -> None:
    gates, before = (Gate(failures=1), Gate(failures=1)), lines_lost()
    writers = [LineWriter(gate, name="test") for gate in gates]
    for writer, gate in zip(writers, gates, strict=True):
        gate.opened.set()
        writer.write(b"a\nb\n", 2)
        assert writer.flush(LONG)
    assert lines_lost() == before + 4
