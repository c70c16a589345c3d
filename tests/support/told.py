"""A handshake that talks with a client which has said everything already, and a record of that talk."""

from typing import Any

import attrs

from trioedge.session.handshake import Background
from trioedge.session.session import Session
from trioedge.session.verdict import Outcome, Verdict
from trioedge.testing import converse, make_session


@attrs.frozen
class Talk:
    """The result of a talk.

    Attributes:
        sent: to the client.
        verdict: of the handshake; None while it waits for the client.
        left: what the upstream gets first.
        session: as the handshake left it.
        asked: its questions in the background.
    """

    sent: bytes
    verdict: Verdict | None
    left: bytes
    session: Session
    asked: list[Background]


def talk(recipe: object, said: bytes, outcome: Outcome | None = None, *, found: Any = None) -> Talk:
    """Talk with a handshake.

    Args:
        recipe: the stage.
        said: all that the client says.
        outcome: how its connect ends; None for well.
        found: the answer to what is asked in the background.
    """
    session, asked = make_session(), list[Background]()

    def answer(command: Background) -> Any:
        asked.append(command)
        return found

    conversed = converse(recipe, session, said, connected=outcome, background=answer)
    return Talk(conversed.sent, conversed.verdict, conversed.left, session, asked)
