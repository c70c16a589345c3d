"""Handshakes that are driven without I/O: the bytes of a client in pieces, and the verdict."""

from collections.abc import Iterable

import attrs

import trioedge as te
from trioedge.session.conversation import ChainedHandshake, Conversation


@attrs.frozen
class Talk:
    """How far a handshake came.

    Attributes:
        verdict: its verdict; None if it waits for more bytes.
        left: the client's bytes that it has not taken.
        took: how many pieces it was given before its verdict.
    """

    verdict: te.Verdict | None
    left: bytes
    took: int


def talk(stage: te.Handshake, session: te.Session, pieces: Iterable[bytes], *, max_bytes: int = 4096) -> Talk:
    """Give a handshake that only reads a client's bytes, one piece after another, until it has a verdict."""
    chained = ChainedHandshake(stage, 10.0, max_bytes, lambda _: te.CONTINUE, last=True)
    held = bytearray()
    conversation = Conversation(chained, session, held)
    conversation.begin()
    took = 0
    rest = b""
    for piece in pieces:
        if conversation.verdict is not None:
            rest += piece
            continue
        took += 1
        while piece and conversation.verdict is None:
            room = conversation.room
            conversation.feed(piece[:room])
            piece = piece[room:]
        rest += piece
    return Talk(conversation.verdict, bytes(held) + rest, took)
