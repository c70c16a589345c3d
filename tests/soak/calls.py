"""Failing system calls: each call of a running edge fails once with each plausible errno, at several places.

Long sessions go on meanwhile, and each must get all its bytes, but for the one that met the call. Behind each failure
the edge must be there, serve new clients, and have as many descriptors and sessions as before.
"""

from __future__ import annotations

import errno
import mmap
import random
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.soak import edge_process, traffic
from tests.soak.edge_process import Edge
from tests.soak.edges import IDLE_SECONDS, PRECONNECT
from tests.soak.findings import Row, Task
from tests.soak.rhythms import ClientEnd, Script, ServerEnd
from tests.soak.traffic import Session, Traffic

NUMBERS = {
    name: number
    for number, name in enumerate(
        ("accept4", "connect", "send", "recv", "setsockopt", "getsockopt", "epoll_ctl", "socket", "shutdown",
         "getpeername", "getsockname", "sendmsg", "recvmsg"),
        start=1,
    )
}  # fmt: skip
CALLS: Mapping[str, tuple[int, ...]] = {
    "accept4": (
        errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPROTO, errno.EPERM,
        errno.ENETDOWN, errno.EHOSTUNREACH, errno.EOPNOTSUPP,
    ),
    "connect": (
        errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EADDRNOTAVAIL, errno.EACCES,
        errno.EPERM, errno.ENOBUFS, errno.EAGAIN,
    ),
    "send": (
        errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.ENOBUFS, errno.ENOMEM, errno.EHOSTUNREACH, errno.EPERM,
    ),
    "recv": (errno.ECONNRESET, errno.ETIMEDOUT, errno.ENOMEM, errno.ENOBUFS, errno.EHOSTUNREACH, errno.ENOTCONN),
    "setsockopt": (errno.EINVAL, errno.ENOPROTOOPT, errno.ENOBUFS, errno.ENOMEM, errno.EPERM),
    "getsockopt": (errno.ENOBUFS, errno.ENOPROTOOPT, errno.EINVAL),
    "epoll_ctl": (errno.ENOSPC, errno.ENOMEM),
    "socket": (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
    "shutdown": (errno.ENOTCONN, errno.ENOBUFS),
    "getpeername": (errno.ENOTCONN, errno.EINVAL, errno.ENOBUFS),
    "getsockname": (errno.EINVAL, errno.ENOBUFS),
    "sendmsg": (errno.EPIPE, errno.ENOBUFS),
    "recvmsg": (errno.ECONNRESET, errno.ENOMEM),
}  # fmt: skip
"""The calls that fail, and how: errnos that the kernel's manual or a firewall gives them."""

MODES = ("plain", "preconnect", "pacing", "middleware", "wrapped", "devices", "idle", "all")
SKIPS = ((0, 2), (3, 8), (9, 20), (21, 40))
"""How many calls go well first: drawn from the first range for each errno, then from the next."""
BATCH = 6
"""Sessions that are begun while a call may fail."""
DUE = 8
"""After so many tries the idle limit passes: a deadline that a lost session has left behind is due."""
LONG_BYTES = 8_000_000
MET = 1
"""Sessions that one failing call may cost."""


Order = tuple[str, int, int]
"""A call, its errno, and how many calls go well first."""


@dataclass
class Shim:
    """The order to the shim in the edge's process."""

    memory: mmap.mmap

    def arm(self, call: str, error: int, skip: int) -> None:
        self.memory[:16] = struct.pack("=4i", NUMBERS[call], error, skip, 0)

    def disarm(self) -> bool:
        """Whether the call has failed."""
        fired = struct.unpack("=4i", self.memory[:16])[3]
        self.memory[:16] = bytes(16)
        return bool(fired)


@dataclass
class Counts:
    tried: int = 0
    fired: int = 0
    lost: int = 0
    last: str = "nothing"
    """The call that was made to fail last."""
    faults: list[str] = field(default_factory=list)


def build(folder: Path) -> Path:
    """Compile the shim."""
    library = folder / "shim.so"
    source = Path(__file__).parent / "shim.c"
    options = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC"]
    subprocess.run(["cc", *options, "-o", str(library), str(source), "-ldl"], check=True)
    return library


@contextmanager
def shim(folder: Path) -> Iterator[tuple[Shim, dict[str, str]]]:
    """An order, and the environment of a process that obeys it."""
    path = folder / "order"
    path.write_bytes(bytes(16))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 16) as memory:
        yield Shim(memory), {"LD_PRELOAD": str(build(folder)), "SOAK_SHIM": str(path)}


async def calls(task: Task) -> list[Row]:
    """Let calls fail in edges of several modes."""
    rows = []
    for number, mode in enumerate(MODES):
        rows.append(await _mode(mode, task.seconds / len(MODES), task.seed * 100 + number, task.folder))
        task.say(f"calls, {mode}: {rows[-1].tried}, {len(rows[-1].faults)} faults")
    return rows


async def _mode(mode: str, seconds: float, seed: int, folder: Path) -> Row:
    folder = folder / f"calls-{mode}"
    folder.mkdir(parents=True)
    counts = Counts()
    chance = random.Random(seed)
    orders = _orders(chance)
    deadline = trio.current_time() + seconds
    with shim(folder) as (armed, environment), traffic.upstream_socket(None) as listener:
        upstream = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        while orders and trio.current_time() < deadline:  # once more for each time that the edge ended
            try:
                async with edge_process.edge(mode, upstream, folder, env=environment) as edge:
                    await _edge(edge, listener, armed, orders, counts, deadline)
            except (RuntimeError, trio.TooSlowError, OSError, BaseExceptionGroup) as fault:
                counts.faults.append(f"{counts.last}: the edge: {_innermost(fault)}")
    figures: dict[str, float] = {"failures": counts.fired, "sessions lost": counts.lost}
    tried = f"{counts.fired} failures of {counts.tried} tries, {counts.lost} sessions lost by them"
    return Row("calls", mode, tried, counts.faults, figures)


def _orders(chance: random.Random) -> list[Order]:
    """Every call with every errno, at one place after the other; the last is the first to be tried."""
    orders: list[Order] = []
    for low, high in reversed(SKIPS):
        rank = [(call, error, chance.randint(low, high)) for call, errors in CALLS.items() for error in errors]
        chance.shuffle(rank)
        orders += rank
    return orders


def _innermost(fault: BaseException) -> str:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return repr(fault)[:300]


async def _edge(
    edge: Edge, listener: traffic.Sock, armed: Shim, orders: list[Order], counts: Counts, deadline: float
) -> None:
    """Let one call after the other fail in a running edge, until it ends or the time is over."""
    number = counts.tried * 1_000
    async with _upstream(listener) as seen:
        await _batch(edge, seen, number, 2)
    base = await edge.settled()
    while orders and trio.current_time() < deadline:
        call, error, skip = orders.pop()
        counts.last = f"{call} fails with {errno.errorcode[error]} after {skip}"
        counts.tried += 1
        number += 100
        async with _upstream(listener) as seen:
            failed, fired = await _try(edge, seen, armed, (call, error, skip), number)
            if await _batch(edge, seen, number + 50, 2):
                counts.faults.append(f"{counts.last}: a session afterwards failed, too")
        if not fired:  # this call is made no more often: what would let more of them go well is in vain
            orders[:] = [each for each in orders if each[0] != call or each[2] < skip]
        if edge.mode == "idle" and counts.tried % DUE == 0:
            await trio.sleep(1.1 * IDLE_SECONDS)
        counts.fired += fired
        counts.lost += failed
        if failed > (MET if fired else 0):
            counts.faults.append(f"{counts.last}: {failed} sessions lost")
        after = await edge.settled()  # upstreams have closed, as one whose socket failed would have
        if after["live"]:
            counts.faults.append(f"{counts.last}: {after['live']} sessions live on")
        slack = PRECONNECT if edge.mode == "preconnect" else 0
        grown = after["descriptors"] - base["descriptors"] - slack
        if grown > 0:
            counts.faults.append(f"{counts.last}: {grown} descriptors more")
            base = after


async def _try(edge: Edge, seen: Traffic, armed: Shim, order: Order, number: int) -> tuple[int, bool]:
    """Begin sessions while a call may fail; how many were lost, and whether the call failed at all."""
    bystander = Session(_script(number, LONG_BYTES), doomed=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_one, edge, seen, bystander)
        while not bystander.got_down.count:
            await trio.sleep(0.002)
        armed.arm(*order)
        failed = await _batch(edge, seen, number + 1, BATCH)
        fired = armed.disarm()
    return failed + bool(list(bystander.faults())), fired


@asynccontextmanager
async def _upstream(listener: traffic.Sock) -> AsyncIterator[Traffic]:
    """An upstream for a while; at the end its connections are closed."""
    seen = Traffic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(traffic.serve, seen, listener)
        yield seen
        nursery.cancel_scope.cancel()


async def _batch(edge: Edge, seen: Traffic, number: int, count: int) -> int:
    """Short sessions at once, all orderly; how many failed."""
    sessions = [Session(_script(number + each, 3_000), doomed=False) for each in range(count)]
    async with trio.open_nursery() as nursery:
        for session in sessions:
            nursery.start_soon(_one, edge, seen, session)
    return sum(bool(list(session.faults())) for session in sessions)


async def _one(edge: Edge, seen: Traffic, session: Session) -> None:
    seen.scripts[session.script.number] = session
    with trio.move_on_after(2 if session.script.down < LONG_BYTES else 6):
        try:
            await traffic.client(seen, session, edge.connect("steady"))
            for _ in range(20):
                if session.server_saw in ("end", "reset"):
                    break
                await trio.sleep(0.02)
        except OSError:
            session.client_saw = "refused"
    seen.scripts.pop(session.script.number, None)


def _script(number: int, down: int) -> Script:
    return Script(
        number, 2_000, down, 1_000, 65_536, 0.0, 0.0, slow_client=False, slow_server=False,
        client_end=ClientEnd.FINISH, server_end=ServerEnd.FINISH,
    )  # fmt: skip
