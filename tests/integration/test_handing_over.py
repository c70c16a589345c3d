"""Real workers behind one balancer: each source has one worker, and nothing is lost on the way to it."""

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.support import wires
from tests.support.families import WHO, Family, family

pytestmark = pytest.mark.usefixtures("in_a_folder")

V2_START = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def behind(stages: str) -> str:
    """Give the program of families, with stages."""
    return WHO.replace("[], who,", f"[{stages}], who,")


PROXY = "te.ProxyProtocol(['127.0.0.0/8'])"


def v1(number: int) -> bytes:
    """Write a header of version 1 for the client of a number."""
    return f"PROXY TCP4 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255} 192.0.2.9 1000 443\r\n".encode()


def v2(number: int) -> bytes:
    """Write a header of version 2 for the same client."""
    return (
        V2_START + b"\x21\x11\x00\x0c" + (10 << 24 | number).to_bytes(4) + bytes([192, 0, 2, 9, 3, 232, 1, 187])
    )  # fmt: skip


def v2_of_ipv6(number: int) -> bytes:
    """Write a header of version 2 for a client of a /64 of its own; its last bits change with each call."""
    source = bytes.fromhex("20010db8") + number.to_bytes(4) + os.urandom(8)
    return V2_START + b"\x21\x21\x00\x24" + source + bytes(16) + bytes([3, 232, 1, 187])


class EndedError(Exception):
    """The session has ended before it said which worker has it."""


async def connect(edge: Family, header: bytes, says: bytes = b"hello") -> tuple[trio.SocketStream, int]:
    """Connect by a balancer; give the process that carries the session, once it has echoed what came behind."""
    stream = await wires.connect(edge.port)
    try:
        await stream.send_all(header + says)
        heard = b""
        while not heard.endswith(b"\n" + says):
            chunk = await stream.receive_some()
            if not chunk:
                raise EndedError
            heard += chunk
    except (trio.BrokenResourceError, EndedError):
        await stream.aclose()
        raise EndedError from None
    return stream, int(heard.partition(b"\n")[0])


async def worker_of(edge: Family, header: bytes) -> int:
    stream, pid = await connect(edge, header)
    await stream.aclose()
    return pid


@asynccontextmanager
async def settled(edge: Family) -> AsyncIterator[dict[int, int]]:
    """Count the descriptors of the workers before and behind the block; they are as many."""
    workers = edge.children()[1:]

    def count() -> dict[int, int]:
        return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in workers}

    before = count()
    yield before
    with trio.fail_after(10):
        while any(now > before[pid] for pid, now in count().items()):
            await trio.sleep(0.02)


@pytest.mark.parametrize("header", [v1, v2, v2_of_ipv6], ids=["v1", "v2", "v2 of IPv6"])
async def test_each_of_forty_sources_of_one_balancer_has_one_worker_and_no_descriptor_leaks(
    header: Callable[[int], bytes],
) -> None:
    async with family(behind(PROXY)) as edge:
        for number in range(8):
            await worker_of(edge, header(number))
        async with settled(edge):
            found: dict[int, set[int]] = {}
            for _ in range(3):
                for number in range(40):
                    found.setdefault(number, set()).add(await worker_of(edge, header(number)))
        assert [len(pids) for pids in found.values()] == [1] * 40
        assert len(set.union(*found.values())) == 2


async def test_a_thousand_sources_of_one_balancer_are_halved() -> None:
    async with family(behind(PROXY)) as edge:
        found = Counter([await worker_of(edge, v2(number)) for number in range(1_000)])
        assert {*found} == {*edge.children()[1:]}
        assert min(found.values()) > 420, found


async def test_a_limit_by_peer_in_front_holds_over_both_workers_and_is_given_back() -> None:
    async with family(behind(f"te.ConcurrencyLimit(20, per='peer'), {PROXY}")) as edge:
        live = [await connect(edge, v1(number)) for number in range(20)]
        assert len({pid for _, pid in live}) == 2
        for _ in range(5):
            with pytest.raises(EndedError):
                await connect(edge, v1(7))
        for stream, _ in live[:3]:
            await stream.aclose()
        again: list[tuple[trio.SocketStream, int]] = []
        with trio.fail_after(10):
            while len(again) < 3:
                try:
                    again.append(await connect(edge, v1(9)))
                except EndedError:  # the first worker has not heard of the end yet
                    await trio.sleep(0.01)
        with pytest.raises(EndedError):
            await connect(edge, v1(7))
        for stream, _ in [*live, *again]:
            await stream.aclose()


async def test_a_limit_in_front_counts_no_more_the_sessions_of_a_worker_that_was_killed() -> None:
    async with family(behind(f"te.ConcurrencyLimit(20, per='peer'), {PROXY}")) as edge:
        accepts = await accepting_worker(edge)
        live = [await connect(edge, v1(number)) for number in range(20)]
        carries = next(pid for _, pid in live if pid != accepts)
        lost = sum(pid == carries for _, pid in live)
        edge.kill(carries)
        await edge.command.says('"listening"', times=3)
        again: list[tuple[trio.SocketStream, int]] = []
        with trio.fail_after(20):
            while len(again) < lost:
                try:
                    again.append(await connect(edge, v1(len(again))))
                except EndedError:
                    await trio.sleep(0.01)
        with pytest.raises(EndedError):
            await connect(edge, v1(7))
        for stream, _ in [*live, *again]:
            await stream.aclose()


async def accepting_worker(edge: Family) -> int:
    """Give the worker that accepts the balancer's connections: it has those whose header names no client."""
    return await worker_of(edge, b"PROXY UNKNOWN\r\n")


async def source_of_the_other(edge: Family, accepts: int) -> int:
    """Give the number of a client whose source another worker has."""
    for number in range(50):
        if await worker_of(edge, v1(number)) != accepts:
            return number
    raise AssertionError("one worker has all sources")


async def test_sessions_in_the_inbox_of_a_worker_that_is_killed_are_its_successors() -> None:
    async with family(behind(PROXY)) as edge:
        accepts = await accepting_worker(edge)
        number = await source_of_the_other(edge, accepts)
        carries = next(pid for pid in edge.children()[1:] if pid != accepts)
        os.kill(carries, signal.SIGSTOP)
        found: list[int] = []

        async def wait_for_it() -> None:
            stream, pid = await connect(edge, v1(number), b"x" * 1_000)
            found.append(pid)
            await stream.aclose()

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(wait_for_it)
                await trio.sleep(0.3)
                assert found == [], "they wait in the inbox"
                edge.kill(carries)
        assert {*found} == {pid for pid in edge.children()[1:] if pid != accepts}
        assert len(found) == 20


async def test_a_session_lives_on_when_the_worker_that_accepted_it_is_killed() -> None:
    async with family(behind(f"te.ConcurrencyLimit(20, per='peer'), {PROXY}")) as edge:
        accepts = await accepting_worker(edge)
        number = await source_of_the_other(edge, accepts)
        stream, pid = await connect(edge, v1(number))
        assert pid != accepts
        edge.kill(accepts)
        await edge.command.says('"listening"', times=3)
        await stream.send_all(b"again")
        assert await stream.receive_some() == b"again"
        await stream.aclose()
        assert await worker_of(edge, v1(number)) == pid


async def test_over_a_restart_no_client_is_lost_and_the_new_workers_hand_over_among_themselves() -> None:
    async with family(behind(f"te.ConcurrencyLimit(900, per='peer'), {PROXY}")) as edge:
        old = {*edge.children()}
        live = [await connect(edge, v1(number)) for number in range(8)]
        edge.command.signal(signal.SIGUSR2)
        number = 0
        while '"restarted"' not in edge.command.stderr:
            number += 1
            await worker_of(edge, v1(number % 100))
            with trio.move_on_after(0.05):
                await edge.command.says('"restarted"')
        for stream, _ in live:
            await stream.send_all(b"again")
            assert await stream.receive_some() == b"again"
            await stream.aclose()
        while old & {*edge.children()}:
            await worker_of(edge, v1(1))
            await trio.sleep(0.02)
        assert {await worker_of(edge, v1(number)) for number in range(20)} == {*edge.children()[1:]}
