import os
from fcntl import F_DUPFD, fcntl

import pytest

from trioedge.process.workers.memory import SharedMemory, make_locks, shared_memory
from trioedge.structures.gcra import ADMITTED, TOO_FAST, RateSpec


def test_a_memory_that_is_passed_on_has_the_slots_and_the_limits_of_the_first() -> None:
    first, is_new = shared_memory(None, 2)
    assert is_new
    assert first.columns == 8
    first.slots.take(1, 0, 5.0)
    rate = RateSpec(0.001, 1)
    assert first.limits.of("", 0, 0.0).gate(0, 100).admit("shop", 10.0, rate) is ADMITTED
    second, is_new = shared_memory(os.dup(first.fd), 2)
    assert not is_new
    assert second.steering_salt == first.steering_salt
    assert [row.number for row in second.slots.rows()] == [1]
    assert second.limits.of("", 1, 0.0).gate(0, 100).admit("shop", 10.0, rate) is TOO_FAST


def test_more_workers_than_it_has_columns_for_begin_with_a_new_memory() -> None:
    first, _ = shared_memory(None, 2)
    passed = fcntl(first.fd, F_DUPFD, 900)
    second, is_new = shared_memory(passed, 16)
    assert is_new
    assert second.columns == 64
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(passed)


@pytest.mark.parametrize("content", [b"", b"trioedge" + b"\xff" * 100, b"another " + bytes(4096)], ids=repr)
def test_a_memory_of_another_layout_is_refused(content: bytes) -> None:
    fd = os.memfd_create("test")
    os.write(fd, content)
    with pytest.raises(ValueError, match="another version"):
        SharedMemory(fd, make_locks())
    memory, is_new = shared_memory(fd, 2)
    assert is_new
    assert memory.slots.rows() == []


def test_pages_that_are_not_written_take_no_memory() -> None:
    memory, _ = shared_memory(None, 2)
    assert os.fstat(memory.fd).st_blocks * 512 < 200_000 < SharedMemory.size(8)
