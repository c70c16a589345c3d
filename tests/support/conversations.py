"""Handshakes without I/O: the client's chunks in, the stage's words and its verdict out."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from trioedge.session.conversation import ChainedHandshake, Conversation
from trioedge.session.handshake import PROCEED, Peek, Send
from trioedge.session.session import Session
from trioedge.session.verdict import CONTINUE, Outcome, Verdict


class Talk(NamedTuple):
    """What came of a handshake.

    Attributes:
        verdict: None for a handshake that still waits for its client.
        sent: the bytes for the client.
        left: the client's bytes that go to the upstream.
        proceeded: whether it had the rest of the chain run.
    """

    verdict: Verdict | None
    sent: bytes
    left: bytes
    proceeded: bool


def talk(stage: Any, session: Session, *chunks: bytes, outcome: Outcome | None = None) -> Talk:
    """Drive a live handshake with what a client sends; behind the last chunk the client is silent.

    Args:
        stage: a live handshake.
        session: the session that it is for.
        chunks: what arrives, piece by piece.
        outcome: the answer to PROCEED; None for a connect that succeeds.
    """
    seconds, max_bytes = getattr(stage, "seconds", 10.0), getattr(stage, "max_bytes", 4_096)
    conversation = Conversation(
        ChainedHandshake(stage, seconds, max_bytes, lambda _: CONTINUE, last=True), session, bytearray()
    )
    arriving, sent = iter(chunks), bytearray()
    command = conversation.begin()
    while command is not None:
        if isinstance(command, Send):
            sent += command.data
            command = conversation.resume(None)
        elif command is PROCEED:
            command = conversation.resume(outcome)
        elif (data := next(arriving, None)) is not None:
            command = conversation.feed(data[: conversation.room])
        elif isinstance(command, Peek) and command.seconds is not None:
            command = conversation.give_up()
        else:
            conversation.close()
            break
    left = bytes(conversation.held) + b"".join(arriving)
    return Talk(conversation.verdict, bytes(sent), left, conversation.proceeded)


def bytewise(data: bytes) -> Iterator[bytes]:
    """Cut bytes into single ones."""
    return (data[at : at + 1] for at in range(len(data)))
