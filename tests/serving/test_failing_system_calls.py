"""A system call that fails once costs at most the session that made it, whichever call and whichever occurrence."""

import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.failing_calls import Faults, install
from tests.support.open_files import open_files
from tests.support.ports import closed_port
from tests.support.reactors import deadlines_of
from tests.support.wires import connect, echo, edge_to, receive_all, receive_exactly, server, serving
from trioedge.loop.sockets import reset

ERRNOS = {
    "accept": [errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EPERM],
    "socket": [errno.EMFILE, errno.ENOBUFS],
    "connect": [errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EAGAIN],
    "send": [errno.ECONNRESET, errno.EPIPE, errno.ENOBUFS, errno.ENOMEM],
    "recv": [errno.ECONNRESET, errno.ETIMEDOUT, errno.ENOMEM, errno.EIO],
    "setsockopt": [errno.EINVAL, errno.ENOMEM, errno.ENOPROTOOPT],
    "getsockopt": [errno.EINVAL, errno.ENOMEM],
    "shutdown": [errno.ENOTCONN],
    "close": [errno.EIO, errno.ECONNRESET, errno.EINTR],
    "ioctl": [errno.ENOMEM],
    "epoll_ctl(ADD)": [errno.ENOSPC, errno.ENOMEM],
    "epoll_ctl(MOD)": [errno.ENOMEM],
}


async def detached(client: trio.SocketStream) -> socket.socket:
    """Take the bare socket out of a stream."""
    await trio.lowlevel.checkpoint()
    return socket.socket(fileno=client.socket.detach())


async def orderly(port: int) -> None:
    async with await connect(port) as client:
        await client.send_all(b"question")
        await client.send_eof()
        assert await receive_all(client) == b"question"


async def resetting(port: int) -> None:
    client = await connect(port)
    async with client:
        await client.send_all(b"question")
        assert await receive_exactly(client, 8) == b"question"
        reset(await detached(client))


async def early_reset(port: int) -> None:
    reset(await detached(await connect(port)))
    await trio.sleep(0.002)


async def refused(port: int) -> None:
    """Be a client that the handshake below refuses."""
    async with await connect(port) as client:
        await client.send_all(b"no question" + bytes(100_000))
        assert await receive_all(client) == b"no"


@te.handshake(seconds=1, proceeds=True)
def talks(session: te.Session) -> te.Steps:
    yield te.Peek(3)
    if (yield te.Peek(8)).startswith(b"no"):
        yield te.Send(b"no")
        return te.Reject(te.Reason.CREDENTIALS)
    yield te.PROCEED
    return te.CONTINUE


class Trial:
    """An edge whose calls fail as told, and the balance of its books after each session."""

    def __init__(self, edge: te.Edge, port: int, faults: Faults, reactor: Any) -> None:
        self.edge, self.port, self.faults, self.reactor = edge, port, faults, reactor
        self.files = 0

    async def session(self, rhythm: Callable[[int], Awaitable[None]]) -> bool:
        """Play a session, and tell whether it went well; it ends within seconds in any case."""
        try:
            with trio.fail_after(3):
                await rhythm(self.port)
        except (OSError, trio.BrokenResourceError, AssertionError):
            return False
        return True

    async def settle(self) -> None:
        with trio.fail_after(3):
            while len(self.edge.sessions) or open_files() > self.files or deadlines_of(self.reactor):
                await trio.sleep(0.001)
        counts = self.edge.statistics()
        assert counts.accepted == sum(counts.ended.values()) + sum(counts.refused.values())
        assert len(self.reactor) == 1, "only the listener is registered"


async def play(trial: Trial, rhythm: Callable[[int], Awaitable[None]], call: str) -> int:
    """Let each occurrence of a call fail in a session, with each errno; give how many calls failed."""
    trial.faults.arm()
    await trial.session(rhythm)
    await trial.settle()
    occurrences, failed = trial.faults.calls[call], 0
    for occurrence in range(1, occurrences + 1):
        for code in ERRNOS[call]:
            trial.faults.arm(call, occurrence, code)
            await trial.session(rhythm)
            failed += trial.faults.failed
            trial.faults.arm()
            assert await trial.session(orderly), f"{call} {occurrence} {errno.errorcode[code]}: the next session fails"
            await trial.settle()
    return failed


@pytest.mark.parametrize("stages", [(), (talks,)], ids=["no handshake", "a handshake"])
@pytest.mark.parametrize("call", ERRNOS)
async def test_a_system_call_that_fails_once_costs_at_most_its_session(
    call: str, stages: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = install(monkeypatch)
    reactors: list[Any] = []

    class Spy:
        """Gives the test the reactor of the edge."""

        kind = "decision"

        def open(self, context: te.EdgeContext) -> "Spy":
            reactors.append(context.reactor)
            return self

        def decide(self, session: te.Session) -> te.Verdict:
            return te.CONTINUE

    async with server(echo) as upstream:
        edge = edge_to(upstream, Spy(), *stages)
        async with serving(edge) as port:
            trial = Trial(edge, port, faults, reactors[0])
            await trial.session(orderly)
            await trio.sleep(0.01)
            trial.files = open_files()
            failed = 0
            for rhythm in (orderly, resetting, early_reset, *([refused] if stages else [])):
                failed += await play(trial, rhythm, call)
    assert failed or call in ("epoll_ctl(MOD)", "getsockopt"), "the call was never made, so nothing was tried"


async def test_a_call_that_fails_while_a_refused_upstream_is_noticed_costs_no_other_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faults = install(monkeypatch)
    edge = edge_to(closed_port(), retries=0)
    async with serving(edge) as port:
        for call in ("getsockopt", "close", "setsockopt", "epoll_ctl(ADD)", "connect"):
            for code in ERRNOS[call]:
                faults.arm(call, 1, code)
                for _ in range(2):
                    async with await connect(port) as client:
                        with trio.fail_after(3), pytest.raises(trio.BrokenResourceError):
                            await receive_all(client)
                    faults.arm()
                counts = edge.statistics()
                assert (counts.live, counts.accepted) == (0, sum(counts.ended.values()))
