"""What a stage may answer: go on, no, or done. A refusal is a value; a fault is an exception."""

from enum import Enum, StrEnum
from typing import Final, Literal, TypeAlias

import attrs


class Reason(StrEnum):
    """Why a session was refused or how it ended. The values are metric labels, so they never change meaning."""

    # Refusals: the session never reached its endpoint.
    RATE = "rate"
    """A gate admits no more sessions for now."""
    SOURCE = "source"
    """The client's address is not accepted."""
    CONCURRENCY = "concurrency"
    """Too many sessions are live at once."""
    CAPACITY = "capacity"
    """A bounded table is full, and no live key is forgotten for a new one."""
    OVERLOAD = "overload"
    """The process is out of sessions or of file descriptors."""
    SERVICE = "service"
    """The session's service is unknown, disabled, or has nowhere to go."""
    DEVICE = "device"
    """The device was denied, or its service has as many as it may."""
    POLICY = "policy"
    """A rule of the user's own said no."""

    # Upstream faults: the session was accepted and nobody answered.
    UPSTREAM_REFUSED = "upstream_refused"
    """The upstream refused the connection."""
    UPSTREAM_TIMEOUT = "upstream_timeout"
    """The upstream did not answer within ``connect_seconds``."""
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    """No route to the upstream, or its socket is missing."""
    UPSTREAM_UNRESOLVED = "upstream_unresolved"
    """The upstream's name has no address."""
    UPSTREAM_FORBIDDEN = "upstream_forbidden"
    """The upstream's addresses are of a class that is not allowed."""

    # Ends of sessions that ran.
    FINISHED = "finished"
    """Both sides said all they had to say."""
    RESET = "reset"
    """One side reset the connection; the other was reset too."""
    IDLE = "idle"
    """No byte moved for longer than the session's idle limit."""
    DEADLINE = "deadline"
    """The session lived as long as it was allowed to."""
    EVICTED = "evicted"
    """Somebody asked for this session to be cut."""
    DRAINED = "drained"
    """The edge stopped before the session did."""
    FAULT = "fault"
    """A stage raised an exception; the log has it."""


class Continue(Enum):
    """The type of :data:`CONTINUE`."""

    CONTINUE = "continue"

    def __repr__(self) -> str:
        return "CONTINUE"


CONTINUE: Final = Continue.CONTINUE
"""A decision's yes: the next stage is asked."""


@attrs.frozen(slots=True)
class Reject:
    """A refusal: the session ends here.

    Attributes:
        reason: why; it is counted under this label.
        detail: what exactly, for people (the rule that matched, say). Never a secret.
    """

    reason: Reason
    detail: str = ""


@attrs.frozen(slots=True)
class Completed:
    """A session that ran, and how it ended.

    Attributes:
        reason: how; :attr:`Reason.FINISHED` when both sides closed by themselves.
        detail: what exactly, for people. Never a secret.
    """

    reason: Reason = Reason.FINISHED
    detail: str = ""


Verdict: TypeAlias = Literal[Continue.CONTINUE] | Reject
"""What a decision returns."""

Outcome: TypeAlias = Completed | Reject
"""What a handler returns."""
