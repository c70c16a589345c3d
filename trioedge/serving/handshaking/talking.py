"""Sessions whose clients are in their handshakes: what the edge sees of them, and how many have to say more."""

from typing import Final, Protocol

from ...session.conversation import Conversation
from ...session.session import Session
from ...session.verdict import Reason, Reject
from ...telemetry.log import STOPS, EdgeLog

GAVE_WAY: Final = Reject(Reason.HANDSHAKE, "gave way: too many clients are in their handshakes")


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


def close_conversation(conversation: Conversation, session: Session, log: EdgeLog) -> None:
    """Close a handshake that may not be at its end; its exception is logged."""
    try:
        conversation.close()
    except STOPS:
        raise
    except BaseException as fault:
        log.fault("handshake failed", fault, session=session.id, stage=conversation.name)


class GivesWay(Protocol):
    """A handshake that waits for its client."""

    def give_way(self) -> None:
        """Refuse the client with :data:`GAVE_WAY`; it is not among those that wait any more."""


class WaitingClients:
    """Those of one run of an edge, of handshakes in the reactor and in tasks.

    Attributes:
        maximum: of them.
    """

    def __init__(self, maximum: int) -> None:
        """Have none, and `maximum` at most."""
        self.maximum = maximum
        self._waiting: dict[GivesWay, None] = {}  # the one that waits longest first

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, handshake: GivesWay) -> None:
        """Note that a client has to say more; the one that has waited longest may have to give way."""
        if len(self._waiting) >= self.maximum:
            oldest = next(iter(self._waiting))
            self.leave(oldest)
            oldest.give_way()
        self._waiting[handshake] = None

    def leave(self, handshake: GivesWay) -> None:
        """Note that it waits no more; does nothing if it did not."""
        self._waiting.pop(handshake, None)
