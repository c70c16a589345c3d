"""A child process never outlives its block, however the block ends."""

import os
import signal
import subprocess
import sys

import pytest
import trio

from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.fake_link import PATIENCE
from trioedge.control.child_process import child_process

HELLO = ["/bin/sh", "-c", "echo hello; exit 3"]
SLEEPS = ["/bin/sh", "-c", "echo $$; exec sleep 60"]


async def output_of(child: trio.Process) -> bytes:
    assert child.stdout is not None
    return b"".join([chunk async for chunk in child.stdout])


async def test_a_child_that_ends_gives_its_output_and_its_exit_code() -> None:
    before = left_open()
    with trio.fail_after(PATIENCE):
        async with child_process(HELLO) as child:
            assert await output_of(child) == b"hello\n"
            assert await child.wait() == 3
    assert left_open() == before


async def test_a_child_that_still_runs_at_the_end_of_the_block_is_killed() -> None:
    with trio.fail_after(PATIENCE):
        async with child_process(SLEEPS, stdin=subprocess.PIPE) as child:
            assert child.returncode is None
    assert child.returncode == -signal.SIGKILL


async def test_an_exception_in_the_block_kills_the_child() -> None:
    before = left_open()
    with trio.fail_after(PATIENCE), pytest.raises(LookupError, match="as asked"):
        async with child_process(SLEEPS, stdin=subprocess.PIPE) as child:
            raise LookupError("as asked")
    assert child.returncode == -signal.SIGKILL
    assert left_open() == before


async def test_a_program_that_is_missing_is_an_os_error_and_leaves_nothing_open() -> None:
    before = left_open()
    with pytest.raises(OSError, match="No such file"):
        async with child_process(["/nowhere/program"], stdin=subprocess.PIPE):
            raise AssertionError("the block has no child to run with")
    assert left_open() == before


async def test_options_reach_the_child() -> None:
    with trio.fail_after(PATIENCE):
        async with child_process(
            [sys.executable, "-ISc", "import os; print(os.environ['SAID'])"], env={**os.environ, "SAID": "so"}
        ) as child:
            assert await output_of(child) == b"so\n"


async def test_a_cancel_at_any_step_leaves_neither_a_child_nor_a_pipe() -> None:
    children: list[trio.Process] = []

    async def live() -> None:
        async with child_process(HELLO, stdin=subprocess.PIPE) as child:
            children.append(child)
            await output_of(child)
            await child.wait()

    with trio.fail_after(PATIENCE):
        await live()
        before = left_open()

        def check() -> None:
            assert left_open() == before
            assert all(child.returncode is not None for child in children)

        assert await cancel_at_every_step(live, check) > 5
