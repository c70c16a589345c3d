"""Give the client of a handshake that has proceeded its answer, over a plain socket or the session's stream."""

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio

from ..errors import quote_fault
from ..loop.parting import PARTING_BYTES, PARTING_SECONDS, part
from ..loop.reactor import Reactor
from ..session.session import Session
from ..session.stage import Handler
from ..session.surroundings import FaultLog, PendingAnswer
from ..session.verdict import Completed, Outcome, Reason, Reject
from ..telemetry.log import STOPS
from .direction import BROKEN
from .streams import RECEIVE_BYTES, BareReplayStream, PlainStream

_recv = socket.SocketType.recv  # the kernel's, beneath TLS


def answer_connected(session: Session, sock: socket.SocketType, log: FaultLog) -> Outcome | None:
    """Tell the client that its upstream is connected.

    Args:
        session: with or without a handshake that waits for this. It has no carrier now, so that a cut only marks it.
        sock: the client's, which stays open.
        log: logs an exception of the handshake.

    Returns:
        None if the session goes on; its outcome if the handshake refuses it now, or the client does not take the
        bytes.
    """
    answer = session.take_answer()
    if answer is None:
        return None
    session.carrier = None
    try:
        words, verdict = answer.connected()
    except STOPS:
        raise
    except BaseException as fault:
        log.fault("handshake failed", fault, session=session.id, stage=answer.name)
        return Completed(Reason.FAULT, quote_fault(fault))
    try:
        if words and sock.send(words) < len(words):
            return Completed(Reason.RESET, "the client does not read")
    except OSError as error:
        return Completed(Reason.RESET, error.strerror or "")
    if session.cut_reason is not None:
        return Completed(session.cut_reason)
    return verdict if type(verdict) is Reject else None


def answer_refused(
    session: Session, sock: socket.SocketType, outcome: Outcome, reactor: Reactor, log: FaultLog
) -> bool:
    """Tell the client that it has no upstream, and close its socket in order.

    Args:
        session: with or without a handshake that waits for this. It has no carrier that would close the socket.
        sock: the client's, which is not registered in the reactor.
        outcome: the session's.
        reactor: closes the socket once the client has the bytes.
        log: logs an exception of the handshake.

    Returns:
        False if no handshake waits, or the session was cut; the socket is the caller's to close then.
    """
    answer = session.take_answer() if session.cut_reason is None else None
    if answer is None:
        return False
    part(reactor, sock, _last_words(answer, session, outcome, log))
    return True


def _last_words(answer: PendingAnswer, session: Session, outcome: Outcome, log: FaultLog) -> bytes:
    """Give the bytes for a client that has no upstream; none of a handshake that raises, which is logged."""
    try:
        return answer.refused(outcome)
    except STOPS:
        raise
    except BaseException as fault:
        log.fault("handshake failed", fault, session=session.id, stage=answer.name)
        return b""


def answer_on_use(session: Session, log: FaultLog) -> tuple[bytes, Callable[[], object]]:
    """Give the bytes that tell the client that it is connected, because a stage uses its stream now.

    Returns:
        The bytes, and a function for when they are sent, which cuts a session that its handshake refuses, or whose
        handshake raised: that is logged.
    """
    answer = session.take_answer()
    if answer is None:
        return b"", _nothing
    try:
        words, verdict = answer.connected()
    except STOPS:
        raise
    except BaseException as fault:
        log.fault("handshake failed", fault, session=session.id, stage=answer.name)
        return b"", partial(session.cut, Reason.FAULT, quote_fault(fault))
    return words, partial(session.cut, verdict.reason, verdict.detail) if type(verdict) is Reject else _nothing


def _nothing() -> None:
    """Do nothing behind the words of a handshake that does not refuse."""


async def answer_behind(
    session: Session, stream: PlainStream | BareReplayStream, call_next: Handler, log: FaultLog
) -> Outcome:
    """Run the rest of a chain behind a handshake that has proceeded.

    The client gets its answer when the rest first uses `stream`, or when it has come to nothing.

    Args:
        session: the session.
        stream: the client's, as the handshake had it.
        call_next: the rest of the chain.
        log: logs an exception of the handshake.
    """
    stream.before_use = partial(answer_on_use, session, log)
    try:
        outcome = await call_next(session)
    finally:
        stream.before_use = None  # it would be a cycle
    answer = session.take_answer()
    if answer is not None and session.cut_reason is None:
        await part_stream(stream, _last_words(answer, session, outcome, log))
    return outcome


async def part_stream(stream: trio.abc.SendStream, words: bytes = b"") -> None:
    """Send last words, and wait until the client has read them and closes, at most :data:`.PARTING_SECONDS`."""
    with trio.move_on_after(PARTING_SECONDS), suppress(*BROKEN, OSError):
        if words:
            await stream.send_all(words)
        if not isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.aclose()  # as TLS has it
            return
        await stream.send_eof()
        receive = partial(_receive, stream.socket) if isinstance(stream, PlainStream) else stream.receive_some
        left = PARTING_BYTES
        while left > 0 and (data := await receive()):
            left -= len(data)
        await stream.aclose()  # in order, before the end of the session's task resets it


async def _receive(sock: socket.socket) -> bytes:
    """Receive bytes as the kernel has them: those of TLS cannot be decrypted behind a handshake that has failed."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        with suppress(BlockingIOError):
            return _recv(sock, RECEIVE_BYTES)
