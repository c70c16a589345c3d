"""Clients and an upstream that follow scripts over real sockets, and say what was wrong with each session."""

from __future__ import annotations

import itertools
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

import trio

from tests.soak.rhythms import HEAD, Check, ClientEnd, Pattern, Script, ServerEnd, draw

PATTERN = Pattern()
SECONDS = 20.0
"""A session that takes longer hangs."""
SILENT_SECONDS = 0.3
"""How long a client that never reads stays."""
UNREAD_SECONDS = 3.0
"""How long a client that does not read tries to send: an upstream that sends before it reads may wait for it."""
SLOW_READ = 32_768
SLOW_PAUSE = 0.002
NARROW = 131_072
"""The receive buffer of a slow reader, so that its writer meets a full kernel. Loopback stalls with less than two
segments, of 64 KiB each."""
RESET = struct.pack("ii", 1, 0)

Sock = trio.socket.SocketType
Connect = Callable[[], Awaitable[Sock]]
Ends = (ConnectionError, BrokenPipeError, TimeoutError)


@dataclass
class Session:
    """What both sides of one session saw."""

    script: Script
    doomed: bool
    sent_up: int = 0
    sent_down: int = 0
    got_up: Check = field(init=False)
    got_down: Check = field(init=False)
    client_saw: str = "nothing"
    """`end` behind the last byte, `reset`, `refused`, or `nothing`."""
    server_saw: str = "nothing"

    def __post_init__(self) -> None:
        self.got_up = Check(PATTERN, 2 * self.script.number)
        self.got_down = Check(PATTERN, 2 * self.script.number + 1)

    def faults(self) -> Iterator[str]:
        """Faults in words; none of a session that was right."""
        for way, check, sent in (("up", self.got_up, self.sent_up), ("down", self.got_down, self.sent_down)):
            if check.wrong is not None:
                yield f"byte {check.wrong:,} {way} is not what was sent"
            if check.count > sent:
                yield f"{check.count:,} bytes {way} came, {sent:,} were sent"
        if self.script.orderly and not self.doomed:
            if self.got_up.count != self.script.up or self.server_saw != "end":
                yield f"{self.got_up.count:,} of {self.script.up:,} bytes up, then {self.server_saw}"
            if self.got_down.count != self.script.down or self.client_saw != "end":
                yield f"{self.got_down.count:,} of {self.script.down:,} bytes down, then {self.client_saw}"


@dataclass
class Traffic:
    """All sessions of a run. Sent bytes are counted at once, because a side may send when its session is done."""

    sessions: int = 0
    whole: int = 0
    sent_up: int = 0
    got_up: int = 0
    sent_down: int = 0
    got_down: int = 0
    attempts: int = 0
    connects: int = 0
    """Of the attempts, those that a client did not see refused."""
    faults: list[str] = field(default_factory=list)
    scripts: dict[int, Session] = field(default_factory=dict)
    """The sessions that run now."""

    def done(self, session: Session) -> None:
        self.sessions += 1
        del self.scripts[session.script.number]
        found = list(session.faults())
        self.faults += [f"{each}  {session.script}" for each in found]
        self.whole += session.script.orderly and not session.doomed and not found
        self.got_up += session.got_up.count + (HEAD if session.server_saw != "nothing" else 0)
        self.got_down += session.got_down.count

    @property
    def bytes(self) -> int:
        """All that arrived, both ways."""
        return self.got_up + self.got_down


async def send(sock: Sock, stream: int, size: int, piece: int, pause: float, count: Callable[[int], None]) -> None:
    """Send `size` bytes of a stream in pieces; `count` is told what the kernel took."""
    sent = 0
    while sent < size:
        data = memoryview(PATTERN.piece(stream, sent, min(piece, size - sent)))
        while data:
            taken = await sock.send(data)
            data = data[taken:]
            sent += taken
            count(taken)
        if pause and sent < size:
            await trio.sleep(min(pause, 10 * pause * piece / size))


async def receive(sock: Sock, check: Check, *, slow: bool) -> str:
    """Take all that comes until it ends, and say how."""
    if slow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
    try:
        while data := await sock.recv(SLOW_READ if slow else 65_536):
            check.take(data)
            if slow:
                await trio.sleep(SLOW_PAUSE)
    except Ends:
        return "reset"
    return "end"


def reset(sock: Sock) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


async def client(traffic: Traffic, session: Session, connect: Connect) -> None:
    """Be the client of one session."""
    script = session.script

    def count(taken: int) -> None:
        session.sent_up += taken
        traffic.sent_up += taken

    traffic.attempts += 1
    sock = await connect()
    traffic.connects += 1
    with sock:
        try:
            taken = await sock.send(script.number.to_bytes(HEAD, "big"))
            traffic.sent_up += taken  # behind the await: others count meanwhile
            async with trio.open_nursery() as nursery:
                if script.client_end is ClientEnd.FINISH:

                    async def read() -> None:
                        session.client_saw = await receive(sock, session.got_down, slow=script.slow_client)

                    nursery.start_soon(read)
                await _upload(sock, script, count)
        except* Ends:
            if session.client_saw == "nothing":
                session.client_saw = "reset"


async def _upload(sock: Sock, script: Script, count: Callable[[int], None]) -> None:
    patience = inf if script.client_end is ClientEnd.FINISH else UNREAD_SECONDS
    try:
        with trio.move_on_after(patience):
            await send(sock, 2 * script.number, script.up, script.up_piece, script.client_pause, count)
        if script.client_end is ClientEnd.FINISH:
            sock.shutdown(socket.SHUT_WR)
    except (*Ends, OSError):
        if script.client_end is not ClientEnd.FINISH:
            raise ConnectionResetError from None
        return  # the reader sees how it ended
    if script.client_end is ClientEnd.NEVER_READ:
        await trio.sleep(SILENT_SECONDS)
    if script.client_end in (ClientEnd.RESET, ClientEnd.NEVER_READ):
        reset(sock)


async def serve_one(traffic: Traffic, sock: Sock) -> None:
    """Be the upstream of one connection; one that brings no script is an idle connection of a pool."""
    with sock:
        head = b""
        try:
            while len(head) < HEAD:
                data = await sock.recv(HEAD - len(head))
                if not data:
                    return
                head += data
        except OSError:
            return
        session = traffic.scripts.get(int.from_bytes(head, "big"))
        if session is None:
            return  # its client has gone
        session.server_saw = "something"
        script = session.script

        def count(taken: int) -> None:
            session.sent_down += taken
            traffic.sent_down += taken

        async def download() -> None:
            try:
                await send(sock, 2 * script.number + 1, script.down, script.down_piece, script.server_pause, count)
                if script.server_end is ServerEnd.RESET:
                    reset(sock)
                else:
                    sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the reader sees how it ended

        async def upload() -> None:
            try:
                session.server_saw = await receive(sock, session.got_up, slow=script.slow_server)
            except (OSError, trio.ClosedResourceError):
                session.server_saw = "reset"

        match script.server_end:
            case ServerEnd.ANSWER:
                await upload()
                await download()
            case ServerEnd.EARLY:
                await download()
                await upload()
            case _:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(download)
                    await upload()


@contextmanager
def upstream_socket(path: str | None) -> Iterator[Sock]:
    """A listening socket of the upstream: a local one at `path`, or one on loopback."""
    if path:
        sock = trio.socket.from_stdlib_socket(socket.socket(socket.AF_UNIX))
        address: object = path
    else:
        sock = trio.socket.from_stdlib_socket(socket.socket())
        address = ("127.0.0.1", 0)
    sock._sock.bind(address)  # type: ignore[attr-defined]  # at once, without resolving
    sock.listen(4096)
    with sock:
        yield sock


async def serve(traffic: Traffic, listener: Sock) -> None:
    """Be the upstream, for ever."""
    async with trio.open_nursery() as nursery:
        while True:
            sock, _ = await listener.accept()
            nursery.start_soon(serve_one, traffic, sock)


@dataclass
class Crowd:
    """Clients that follow one script after the other until they are told to stop."""

    traffic: Traffic
    seed: int
    orderly: bool = False
    longest_pause: float = 0.05
    _next: int = 0

    async def run(self, connect: Connect, stop: trio.Event, *, doomed: bool) -> None:
        """One client after the other."""
        while not stop.is_set():
            self._next += 1
            number = self.seed * 10_000_000 + self._next
            chance = random.Random(number)
            script = draw(number, chance, orderly=self.orderly, longest_pause=self.longest_pause)
            session = Session(script, doomed)
            self.traffic.scripts[number] = session
            with trio.move_on_after(SECONDS) as scope:
                try:
                    await client(self.traffic, session, connect)
                    await self._server_done(session)
                except OSError:
                    session.client_saw = "refused"
                    await trio.sleep(0.01)
            if scope.cancelled_caught:
                self.traffic.faults.append(f"hung for {SECONDS:g} s  {script}")
            self.traffic.done(session)

    async def _server_done(self, session: Session) -> None:
        """Wait for the upstream's side, which ends later; of a session that need not be whole, a moment."""
        must = session.script.orderly and not session.doomed
        for _ in itertools.count() if must else range(10):
            if session.server_saw in ("end", "reset"):
                return
            await trio.sleep(0.01)
