"""Carry the bytes of a session that has a task: in the reactor if both ends are plain sockets, else in two tasks."""

import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import trio

from ..errors import quote
from ..loop.reactor import Reactor
from ..loop.sockets import reset
from ..session.session import Session
from ..session.verdict import Completed, Outcome, Reason
from .direction import wait_until_lifted
from .socket_relay import Ended, Relay
from .stream_relay import StreamRelay, close_hard
from .streams import PlainStream

Begin: TypeAlias = Callable[[socket.SocketType, bytes, Ended], None]
"""Begins to carry a client's socket; takes the bytes that were read from it, and the callback for its end."""


def kernel_paces(session: Session, *, local: bool) -> bool:
    """Tell whether the kernel can keep the session's rates, which it does for TCP only; also true without a rate.

    Args:
        session: has the rates.
        local: whether the upstream is a local socket.
    """
    return not session.is_paced() or not (local or not session.peer_bytes)


def carry(session: Session, up: trio.abc.HalfCloseableStream, reactor: Reactor) -> Coroutine[Any, Any, Outcome]:
    """Carry a session's bytes between its client and a connected upstream until both have ended; to be awaited.

    Both are closed when it has returned or raised, also after a cancel.

    Args:
        session: its `stream` is the client.
        up: the upstream; the socket of a :class:`PlainStream` is carried in the reactor.
        reactor: carries plain sockets.

    Raises:
        RuntimeError: the session has a relay already, has ended or has no stream; or the upstream is a socket that
            carries another session, which then stays open.
        trio.ClosedResourceError: the client's or the upstream's socket was closed or detached.
    """
    # It gives the coroutine of the relay, because one of its own would take memory for as long as the session lives.
    down = session.stream
    try:
        if isinstance(up, PlainStream):
            _check_new(up.socket, reactor)
        _check_free(session)
        if isinstance(down, PlainStream):
            down.socket  # noqa: B018 - raises if another task has detached it
    except SocketInUseError:
        raise
    except (RuntimeError, trio.ClosedResourceError) as error:
        return _refuse(up, error)
    if session.cut_reason is not None:
        return _refuse(up, Completed(session.cut_reason))
    if session.answer is not None:
        return _answer_and_carry(session, up, reactor)
    return _carry(session, up, reactor)


def _carry(session: Session, up: trio.abc.HalfCloseableStream, reactor: Reactor) -> Coroutine[Any, Any, Outcome]:
    down = session.stream
    if (
        isinstance(down, PlainStream)
        and isinstance(up, PlainStream)
        and kernel_paces(session, local=up.socket.family == socket.AF_UNIX)
    ):
        return _carry_sockets(session, down, up, reactor)
    reactor.refresh()
    session.carrier = relay = StreamRelay(session, reactor, down, up)
    return relay.run()


async def _answer_and_carry(session: Session, up: trio.abc.HalfCloseableStream, reactor: Reactor) -> Outcome:
    """Tell the client of a handshake that it is connected, then carry its bytes."""
    try:
        await session.stream.send_all(b"")  # its first use
    except BaseException:
        await close_hard(up)
        raise
    return await _carry(session, up, reactor)


async def _refuse(up: trio.abc.HalfCloseableStream, why: Exception | Outcome) -> Outcome:
    """Close an upstream that is not to be carried."""
    try:
        await close_hard(up)
        if isinstance(why, Exception):
            raise why
        return why
    finally:
        del why  # its traceback has this frame


async def _carry_sockets(session: Session, down: PlainStream, up: PlainStream, reactor: Reactor) -> Outcome:
    sock, greeting = up.detach()
    relayed = False

    def begin(client: socket.SocketType, prefetched: bytes, ended: Ended) -> None:
        nonlocal relayed
        _check_new(sock, reactor)  # another session may have begun with it meanwhile
        session.carrier = relay = Relay(session, reactor, client, sock, ended)
        relayed = True  # so it closes both
        relay.start(prefetched, readable=sock.family == socket.AF_UNIX, registered=False)
        if greeting and not relay.down.ended:  # nothing has cut it meanwhile
            relay.down.write(memoryview(greeting))

    try:
        if greeting:
            await _spend(session, greeting)
        return await lend(session, down, reactor, begin)
    finally:
        if not relayed and sock.fileno() not in reactor:
            reset(sock)


async def lend(session: Session, stream: PlainStream, reactor: Reactor, begin: Begin) -> Outcome:
    """Lend a session's bare socket to the reactor and wait for its end.

    The socket is closed when this returns or raises, unless a cancel came before the call.

    Args:
        session: has a task, which waits here.
        stream: its client.
        reactor: its clock is refreshed before `begin`.
        begin: begins to carry the socket, and makes itself the session's carrier.

    Raises:
        RuntimeError: the session has a relay already, or has ended.
        trio.ClosedResourceError: the stream was closed or detached.
    """
    _check_free(session)
    task: trio.lowlevel.Task | None = None  # while it waits for the end
    result: Outcome | None = None

    def ended(session: Session, outcome: Outcome) -> None:  # noqa: ARG001 - the session is known here
        nonlocal result, task
        result = outcome
        if task is not None:
            trio.lowlevel.reschedule(task)
            task = None

    def abort(_: object) -> trio.lowlevel.Abort:
        nonlocal task
        task = None
        return trio.lowlevel.Abort.SUCCEEDED

    await trio.lowlevel.checkpoint_if_cancelled()
    sock, prefetched = stream.detach()
    asked = begun = False
    try:
        if prefetched:
            await _spend(session, prefetched)
        _check_free(session)
        reactor.refresh()
        asked = True  # from here on the session's carrier is the one that `begin` makes
        begin(sock, prefetched, ended)
        begun = True
        if session.cut_reason is not None and session.carrier is not None:  # before it had a carrier
            session.carrier.cut(session.cut_reason)
        if result is None:
            task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(abort)
        else:
            await trio.lowlevel.checkpoint()
    finally:
        if asked and result is None and session.carrier is not None:
            session.carrier.cut(Reason.DRAINED)
        if not begun:
            reset(sock)
    assert result is not None, "the carrier ends the session before it wakes the task"
    return result


class SocketInUseError(RuntimeError):
    """The socket of an upstream carries another session."""


def _check_free(session: Session) -> None:
    """Raise RuntimeError if no relay can begin to carry the session."""
    if session.carrier is not None:
        raise RuntimeError(f"session {session.id} has a relay already: a session is relayed once")
    if session.outcome is not None:
        raise RuntimeError(f"session {session.id} has ended: relay a session while its endpoint handles it")
    if session.stream is None:
        raise RuntimeError(f"session {session.id} has no stream: only a session with a task can be relayed")


def _check_new(sock: socket.SocketType, reactor: Reactor) -> None:
    """Raise SocketInUseError if the reactor knows the socket of a new upstream."""
    if sock.fileno() in reactor:
        raise SocketInUseError(f"{quote(sock)} carries another session already: each session needs a socket of its own")


async def _spend(session: Session, data: bytes) -> None:
    """Charge bytes that were read ahead to the session's allowance; wait until it is lifted if it has fewer left."""
    allowance = session.allowance
    if allowance is not None:
        if allowance.left < len(data):
            await wait_until_lifted(allowance)
        allowance.left -= len(data)
