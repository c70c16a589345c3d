"""Carry the bytes of a session that has a task: in the reactor if both ends are plain sockets, else in two tasks."""

import socket
from collections.abc import Callable
from math import inf
from typing import TypeAlias

import trio

from ..loop.reactor import Reactor
from ..loop.sockets import reset
from ..session.session import Session
from ..session.verdict import Completed, Outcome, Reason
from .socket_relay import Ended, Relay
from .stream_relay import StreamRelay, close_hard, wait_until_lifted
from .streams import PlainStream

Begin: TypeAlias = Callable[[socket.socket, bytes, Ended], None]
"""Starts to carry a client's socket, given what was read from it already and what to call at its end."""


def kernel_paces(session: Session, *, local: bool) -> bool:
    """Tell whether the kernel can keep the session's rates, which it does for TCP only; also true without a rate.

    Args:
        session: has the rates.
        local: whether the upstream is a local socket.
    """
    return session.down_rate == inf == session.up_rate or not (local or not session.peer_bytes)


async def carry(session: Session, up: trio.abc.HalfCloseableStream, reactor: Reactor) -> Outcome:
    """Carry a session's bytes between its client and a connected upstream until both have ended.

    Both are closed when this returns, also after a cancel.

    Args:
        session: its `stream` is the client.
        up: the upstream; a plain one is taken apart, and its socket is carried in the reactor.
        reactor: carries plain sockets.
    """
    down = session.stream
    if (
        isinstance(down, PlainStream)
        and isinstance(up, PlainStream)
        and kernel_paces(session, local=up.socket.family == socket.AF_UNIX)
    ):
        sock, greeting = up.detach()
        relayed = False

        def begin(client: socket.socket, prefetched: bytes, ended: Ended) -> None:
            nonlocal relayed
            session.carrier = relay = Relay(session, reactor, client, sock, ended)
            relayed = True  # so the relay closes both
            try:
                relay.start(prefetched, readable=sock.family == socket.AF_UNIX, registered=False)
                if greeting:
                    relay.down.write(memoryview(greeting))
            except BaseException:
                relay.cut(Reason.FAULT)
                raise

        try:
            return await lend(session, down, reactor, begin)
        finally:
            if not relayed:
                reset(sock)
    relay = StreamRelay(session)
    session.carrier = relay
    outcome: Outcome = Completed(Reason.RESET)
    try:
        outcome = await relay.run(down, up)
    finally:
        if outcome == Completed():
            await up.aclose()
        else:
            await close_hard(up)
    return outcome


async def lend(session: Session, stream: PlainStream, reactor: Reactor, begin: Begin) -> Outcome:
    """Lend a session's bare socket to the reactor and wait for its end; the socket is closed when this returns.

    Args:
        session: has a task, which waits here.
        stream: its client.
        reactor: its clock is refreshed before `begin`.
        begin: starts to carry the socket, and makes itself the session's carrier.
    """
    done = trio.Event()
    result: Outcome = Completed(Reason.DRAINED)

    def ended(session: Session, outcome: Outcome) -> None:  # noqa: ARG001 - the session is known here
        nonlocal result
        result = outcome
        done.set()

    await trio.lowlevel.checkpoint_if_cancelled()
    sock, prefetched = stream.detach()
    begun = False
    try:
        if prefetched and (allowance := session.allowance) is not None:
            if allowance.left < len(prefetched):
                await wait_until_lifted(allowance)
            allowance.left -= len(prefetched)
        reactor.refresh()
        begin(sock, prefetched, ended)
        begun = True
        await done.wait()
    finally:
        if not begun:
            reset(sock)
        elif not done.is_set() and session.carrier is not None:
            session.carrier.cut(Reason.DRAINED)
    return result
