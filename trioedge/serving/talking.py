"""What the edge sees of a session whose client is in its handshakes."""

from ..session.conversation import Conversation
from ..session.session import Session
from ..session.verdict import Reason
from ..telemetry.observer import STOPS, Observer


class Talking:
    """The carrier of a session in its handshakes, which moves no bytes yet."""

    __slots__ = ()

    phase = "handshaking"
    pacing = ""
    began_at: float | None = None
    bytes_up = 0
    bytes_down = 0

    def queued(self) -> tuple[int, int]:
        return 0, 0

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Do nothing yet: the relay reads the session's rates when it begins."""

    def cut(self, reason: Reason) -> None:
        """Do nothing: a session with a task is cut by the cancel of its scope."""


def close_conversation(conversation: Conversation, session: Session, log: Observer) -> None:
    """Close a handshake that may not be at its end; its exception is logged."""
    try:
        conversation.close()
    except STOPS:
        raise
    except BaseException as fault:
        log.fault("handshake failed", fault, session=session.id, stage=conversation.name)
