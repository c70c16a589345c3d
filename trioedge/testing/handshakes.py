"""Talk with a handshake without sockets, and check that it keeps what drivers rely on."""

import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, cast

import attrs
import trio

from ..errors import ConfigurationError, quote, quote_fault
from ..services.context import EdgeContext
from ..session.chain import Chain, open_chain
from ..session.conversation import Conversation
from ..session.handshake import PROCEED, Background, Command, Peek, Send, StartTls
from ..session.kinds import HANDSHAKE, close_parts, facts_of, kind_of, name_of
from ..session.outline import outline
from ..session.session import Session
from ..session.verdict import Completed, Outcome, Reject, Verdict
from ..telemetry.log import EdgeLog
from .checks import FaultsFail, Nowhere, check_provided, naming, written
from .context import make_context
from .sessions import make_session

FLOODS: Final = 20
"""Clients with random bytes that a check sends."""

Answer = Callable[[Background], Any]


@attrs.frozen
class Conversed:
    """The result of a talk with a handshake.

    Attributes:
        sent: bytes that it sent, in all.
        verdict: CONTINUE or its Reject; None if it needs more of the client.
        left: bytes of the client that it has not taken.
        proceeded: whether it yielded ``PROCEED``.
        needs: the command that waits for bytes; None if it has ended.
    """

    sent: bytes
    verdict: Verdict | None
    left: bytes
    proceeded: bool
    needs: Command | None


def converse(
    handshake: object, session: Session, *chunks: bytes, connected: Outcome | None = None,
    background: Answer | None = None, context: EdgeContext | None = None,
) -> Conversed:  # fmt: skip
    """Talk with a handshake, without sockets and without a clock.

    Args:
        handshake: the stage, as in ``stages=[…]``.
        session: the session; a handshake may write into it.
        chunks: bytes of the client, as they arrive. When they are used up, a `Peek` with seconds is answered with what
            is there.
        connected: the answer to ``PROCEED``: None for a connected upstream, else the outcome.
        background: gives the answer to a `Background`, or raises; by default its function is run in a Trio of its own.
        context: to open a recipe with; by default :func:`make_context` makes one.

    Raises:
        ConfigurationError: it is no handshake.
        TypeError: `session` is no session, or one of `chunks` no bytes.
        Exception: of the handshake.
    """
    if not isinstance(session, Session):
        raise TypeError(f"converse(session={quote(session)}) needs a session: write make_session()")
    _check_bytes("converse(chunks", chunks)
    return _talk(_open_alone(handshake, context), session, chunks, connected, background)


def check_handshake(
    handshake: object, messages: Sequence[bytes], *, session: Callable[[], Session] = make_session,
    connected: Outcome | None = None, background: Answer | None = None, context: EdgeContext | None = None,
) -> None:  # fmt: skip
    """Check that a handshake does the same however its bytes arrive, writes only what it says, and has bounds.

    Each message arrives whole, byte by byte, cut in two at every place, and with more bytes behind it, if it is not
    empty; it ends at every place, too; and clients with random bytes come. The handshake sends the same then, writes
    the same into its session, gives the same verdict, and raises nothing. Needs no event loop, because a handshake has
    none.

    Args:
        handshake: the stage, as in ``stages=[…]``.
        messages: each is all that one client says, good or bad, up to the handshake's verdict.
        session: makes the session of each client.
        connected: as :func:`converse` has it.
        background: as :func:`converse` has it.
        context: as :func:`converse` has it.

    Raises:
        AssertionError: names the promise that it broke.
        ConfigurationError: it is no handshake.
        TypeError: `messages` is no list of bytes.
    """
    _check_bytes("check_handshake(messages", messages)
    chain = _open_alone(handshake, context)
    name = name_of(handshake)
    may_proceed = facts_of(handshake, name).proceeds

    def talk(*chunks: bytes) -> tuple[Conversed, dict[str, Any]]:
        client = session()
        before = written(client)
        try:
            conversed = _talk(chain, client, chunks, connected, background)
        except Exception as fault:
            raise AssertionError(f"{name} raised {quote_fault(fault)}, with {quote([*chunks])}") from fault
        assert may_proceed or not conversed.proceeded, (
            f"{name} yields PROCEED: say proceeds=True, so that no other handshake stands behind it"
        )
        check_provided(chain, name, client, before)
        faults = client.end(Completed())
        assert not faults, f"a deferred clean-up of {name} raised {faults[0]!r}"
        return conversed, written(client) | {"service": client.service.name}

    for message in messages:
        whole, wrote = talk(message)
        assert whole.verdict is not None, f"{name} needs more than {message!r}: {whole.needs!r}"
        cuts = [(message[:at], message[at:]) for at in range(1, len(message))]
        for chunks in ([bytes([each]) for each in message], *cuts):
            cut, written_then = talk(*chunks)
            assert _same(cut, whole), f"{name} does not do the same with {quote(chunks)}: {cut} is not {whole}"
            assert written_then == wrote, (
                f"{name} does not write the same with {quote(chunks)}: {written_then} is not {wrote}"
            )
        if message:
            more, _ = talk(message + b"more")
            assert _same(more, attrs.evolve(whole, left=whole.left + b"more")), (
                f"{name} takes bytes behind its own: {more} is not {whole} and b'more'"
            )
        for at in range(len(message)):
            talk(message[:at])
    for seed in range(FLOODS):
        flood = random.Random(seed).randbytes(chain.handshakes[0].max_bytes + 1)
        conversed, _ = talk(*(flood[at : at + 1000] for at in range(0, len(flood), 1000)))
        assert conversed.verdict is not None, f"{name} needs more than its max_bytes: {conversed.needs!r}"
    close_parts(chain.parts, FaultsFail())


def _check_bytes(where: str, chunks: object) -> None:
    if not isinstance(chunks, Sequence) or not all(isinstance(each, bytes) for each in chunks):
        raise TypeError(f"{where}={quote(chunks)}) must be bytes, one for each, as in [b'hello\\n']")


def _same(one: Conversed, other: Conversed) -> bool:
    return (one.sent, one.verdict, one.left, one.proceeded) == (other.sent, other.verdict, other.left, other.proceeded)


def _open_alone(handshake: object, context: EdgeContext | None) -> Chain:
    name = name_of(handshake)
    found = kind_of(handshake, name)
    if found != HANDSHAKE:
        raise ConfigurationError(f"{name} is a {found}, not a handshake: call check_{found} with it")
    facts = facts_of(handshake, name)
    if context is None:
        context = attrs.evolve(make_context(), log=cast(EdgeLog, FaultsFail()))
    return open_chain(outline([naming(facts.requires), handshake], Nowhere()), context)


def _talk(
    chain: Chain, session: Session, chunks: Sequence[bytes], connected: Outcome | None, background: Answer | None
) -> Conversed:
    """Be a driver, whose client has said all that it will say."""
    said, sent, left = bytearray(), bytearray(), list(chunks)
    conversation = Conversation(chain.handshakes[0], session, said)
    command = conversation.begin()
    proceeded = False
    while command is not None:
        if isinstance(command, Send):
            sent += command.data
            command = conversation.resume(None)
        elif isinstance(command, Background):
            command = _answer(conversation, command, background or _awaited)
        elif command is PROCEED:
            proceeded = True
            if connected is None:
                words, verdict = conversation.connected()
            else:
                words, verdict = conversation.refused(connected), _refusal(connected)
            return Conversed(bytes(sent + words), verdict, bytes(said) + b"".join(left), proceeded, None)
        elif isinstance(command, StartTls):
            raise ConfigurationError("a handshake that yields StartTls needs sockets: test it with an edge")
        elif left:
            chunk = left.pop(0)
            room = conversation.room
            if len(chunk) > room:
                left.insert(0, chunk[room:])
            command = conversation.feed(chunk[:room])
        elif isinstance(command, Peek) and command.seconds is not None:
            command = conversation.give_up()
        else:
            break
    if command is not None:
        conversation.close()
    return Conversed(bytes(sent), conversation.verdict, bytes(said) + b"".join(left), proceeded, command)


def _refusal(outcome: Outcome) -> Reject:
    return outcome if isinstance(outcome, Reject) else Reject(outcome.reason, outcome.detail)


def _answer(conversation: Conversation, command: Background, background: Answer) -> Command | None:
    try:
        answer = background(command)
    except Exception as fault:
        return conversation.throw(fault)
    return conversation.resume(answer)


def _awaited(command: Background) -> Any:
    if trio.lowlevel.in_trio_run():
        raise AssertionError(f"{command!r} is awaited within a test that awaits: give background=, or test in a def")
    return trio.run(lambda: cast(Coroutine[Any, Any, Any], command.function(*command.args)))
