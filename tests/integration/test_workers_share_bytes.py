"""Two workers of an edge over one memory: real sockets in one process, and counts and claims of forked processes."""

import mmap
import multiprocessing
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from math import inf

import pytest
import trio

import trioedge as te
from tests.support.shared_memory import real_locks, small_limits
from tests.support.wires import connect, server
from trioedge.edge import serve_part
from trioedge.services.terms.shared_quota import LOOK_BYTES, SharedQuotas
from trioedge.serving.part import Part
from trioedge.session.meter import Meter
from trioedge.stages.pacing.shared_rate import SharedRate
from trioedge.structures.shared.limits import SharedLimits

QUOTA = 3_000_003
CHUNK = 65_536
SESSIONS = 8


@asynccontextmanager
async def workers(limits: SharedLimits, *edges: te.Edge) -> AsyncIterator[list[int]]:
    """Serve edges as workers of one edge, and give their ports."""
    async with trio.open_nursery() as nursery:
        for number, edge in enumerate(edges):
            offset = trio.current_time() - time.monotonic()
            part = Part(
                number=number, count=len(edges), column=number, columns=8, limits=limits.of("edge", number, offset)
            )
            await nursery.start(partial(serve_part, edge, part))
        yield [int(edge.addresses[0].rpartition(":")[2]) for edge in edges]
        nursery.cancel_scope.cancel()


async def flood_once_asked(connection: trio.SocketStream) -> None:
    if await connection.receive_some() == b"f":
        with suppress(trio.BrokenResourceError):
            while True:
                await connection.send_all(b"x" * CHUNK)
    await trio.sleep_forever()


async def take(connection: trio.SocketStream) -> None:
    await connection.send_all(b"f")
    with suppress(trio.BrokenResourceError):
        while await connection.receive_some(CHUNK):
            pass


async def test_sessions_of_both_workers_are_cut_when_the_bytes_of_both_use_the_quota_up_and_idle_ones_too() -> None:
    async with server(flood_once_asked) as upstream:
        edges = [
            te.Edge(
                "tcp://127.0.0.1:0",
                [te.Identify("shop")],
                te.Forward(f"tcp://127.0.0.1:{upstream}"),
                control=te.MemoryControl({"shop": te.Policy(quota_bytes=QUOTA)}),
            )
            for _ in range(2)
        ]
        async with workers(small_limits(), *edges) as ports:
            idle = [await connect(port) for port in ports for _ in range(3)]
            busy = [await connect(ports[number % 2]) for number in range(SESSIONS)]
            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    for each in busy:
                        nursery.start_soon(take, each)
                while any(edge.sessions for edge in edges):
                    await trio.sleep(0.01)
            services = [edge.services["shop"] for edge in edges]
            moved = sum(service.up.bytes + service.down.bytes for service in services)
            assert QUOTA <= moved <= QUOTA + SESSIONS * CHUNK + LOOK_BYTES
            assert {service.quota_used for service in services} == {moved}
            assert [edge.statistics().ended for edge in edges] == [{te.Reason.QUOTA: SESSIONS // 2 + 3}] * 2
            for stream in (*idle, *busy):
                await stream.aclose()


async def test_a_rate_is_divided_among_the_sessions_of_both_workers_by_the_kernel_that_paces_them() -> None:
    rate = 8_000_000.0
    async with server(flood_once_asked) as upstream:
        edges = [
            te.Edge("tcp://127.0.0.1:0", [te.Pacing(down_rate=rate)], te.Forward(f"tcp://127.0.0.1:{upstream}"))
            for _ in range(2)
        ]
        async with workers(small_limits(), *edges) as ports, trio.open_nursery() as nursery:
            clients = [await connect(ports[0 if number < 5 else 1], f"127.0.0.{number + 1}") for number in range(8)]
            for client in clients:
                nursery.start_soon(take, client)

            def shares() -> list[float]:
                return [session.down_rate for edge in edges for session in edge.sessions]

            with trio.fail_after(30):
                while len(shares()) < 8 or shares() != [pytest.approx(rate / 8, rel=0.1)] * 8:
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        for client in clients:
            await client.aclose()


# Forked processes.


def forked(works: list[Callable[[], None]]) -> list[int]:
    """Run each work in a process of its own, and give their exit codes."""
    pids = []
    for work in works:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def shared_limits() -> SharedLimits:
    memory = memoryview(mmap.mmap(-1, SharedLimits.size(8)))
    return SharedLimits(memory, columns=8, salt=b"salt", locks=real_locks())  # type: ignore[arg-type]


def test_forked_processes_that_move_bytes_at_full_speed_stop_within_the_bound_and_the_count_is_exact() -> None:
    limits, quota = shared_limits(), 200_000_000

    def move(column: int) -> None:
        meter, spent = Meter(), list[bool]()
        quotas = SharedQuotas(limits.of("edge", column, 0.0).quotas, corrects=False)
        count = quotas.count("shop", meter, Meter(), 7, lambda: spent.append(True), reported=True)
        assert count is not None
        count.limit(quota)
        while not spent:
            meter.add(1_000)
        if column == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked([partial(move, column) for column in range(3)]) == [0, 0, -signal.SIGKILL]
    row = limits.of("edge", 7, 0.0).quotas.open("shop", 0)
    assert row is not None
    used = row.moved + 7
    assert quota <= used <= quota + 2 * LOOK_BYTES + 3 * 1_000
    for column in range(3):
        limits.release(column)
    assert (row.moved + 7, row.joined) == (used, 0)


def test_forked_processes_that_claim_a_rate_without_a_pause_never_take_more_than_it_together() -> None:
    limits, rounds = shared_limits(), 3_000
    turns = multiprocessing.get_context("fork").Barrier(3)

    def claim(column: int) -> None:
        shared = SharedRate(limits.of("edge", column, 0.0).rate("shop"), 1.0)
        turns.wait(30)
        for number in range(rounds):
            counts = shared.counts()
            for _ in range((number * (column + 3)) % 7):
                counts[0].add(inf)
            shared.claim(1.0 + number * 1e-6, (100.0, inf), counts, 1, 1)
        turns.wait(30)

    def watch() -> None:
        row = limits.of("edge", 7, 0.0).rate("shop")
        turns.wait(30)
        for _ in range(rounds):
            with row:
                others = row.others(1.0, inf)
                assert others is not None
                assert not row.locked or sum(use.taken for use in others.down) <= 100.0 * (1 + 1e-9)
        turns.wait(30)

    assert forked([partial(claim, 0), partial(claim, 1), watch]) == [0, 0, 0]
