"""The answers of stages and endpoints: continue, reject, completed. A refusal is a value; a fault is an exception."""

from enum import Enum, StrEnum
from typing import Final, Literal, TypeAlias

import attrs

from ..errors import quote


class Reason(StrEnum):
    """Why a session was refused, or how it ended. The values are metric labels, so they never change their meaning."""

    # Refusals: the session never reached its endpoint.
    RATE = "rate"
    """The rate of new sessions is exceeded."""
    SOURCE = "source"
    """The client's address is not accepted."""
    CONCURRENCY = "concurrency"
    """Too many sessions are live at the same time."""
    CAPACITY = "capacity"
    """A bounded table is full, and no live entry is evicted for a new one."""
    OVERLOAD = "overload"
    """The process has too many sessions, or no file descriptor left."""
    SERVICE = "service"
    """The session's service is unknown, disabled, or has no destination."""
    DEVICE = "device"
    """The device was denied, or its service has as many devices as it may have."""
    POLICY = "policy"
    """A stage of the user refused."""
    PROTOCOL = "protocol"
    """The client's bytes are not of the protocol that a handshake expects, or are too many."""
    HANDSHAKE = "handshake"
    """The client did not finish its handshake: it left, took too long, or gave way to newer clients."""
    CREDENTIALS = "credentials"
    """The client's user, password, token or certificate is not accepted."""
    DESTINATION = "destination"
    """The client may not go where it wants to."""
    QUOTA = "quota"
    """The session's service has moved as many bytes as it may; also ends sessions that ran."""
    EXPIRED = "expired"
    """The session's service has expired; also ends sessions that ran."""

    # Upstream faults: the session was accepted and there is no upstream for it.
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
    UPSTREAM_TLS = "upstream_tls"
    """The upstream does not speak TLS, or its certificate is not trusted or not for its name."""

    # Ends of sessions that ran.
    FINISHED = "finished"
    """Both sides closed in order."""
    RESET = "reset"
    """One side reset the connection; the other one got all bytes that had been sent to it."""
    IDLE = "idle"
    """No byte moved for longer than the session's idle timeout."""
    DEADLINE = "deadline"
    """The session reached the longest life that it may have."""
    EVICTED = "evicted"
    """The edge was asked to end the session."""
    DRAINED = "drained"
    """The edge stopped before the session ended."""
    FAULT = "fault"
    """A stage raised an exception, which is in the log."""


class Continue(Enum):
    """The type of :data:`CONTINUE`."""

    CONTINUE = "continue"

    def __repr__(self) -> str:
        return "CONTINUE"


CONTINUE: Final = Continue.CONTINUE
"""The answer of a decision that admits the session: the next stage decides."""


@attrs.frozen(slots=True)
class Reject:
    """A refusal: the session ends here.

    Attributes:
        reason: why; refusals are counted by it.
        detail: the details for people, such as the rule that matched. Never a secret.

    Raises:
        TypeError: `reason` is no :class:`Reason`, or `detail` is no text.
    """

    reason: Reason
    detail: str = ""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.reason, Reason) or not isinstance(self.detail, str):
            raise _fault("Reject", self.reason, self.detail, Reason.POLICY)
        if type(self.detail) is not str:  # a subclass may have methods that raise
            object.__setattr__(self, "detail", str.__str__(self.detail))


@attrs.frozen(slots=True)
class Completed:
    """The end of a session that reached its endpoint.

    Attributes:
        reason: how it ended; :attr:`Reason.FINISHED` when both sides closed by themselves.
        detail: the details for people. Never a secret.

    Raises:
        TypeError: `reason` is no :class:`Reason`, or `detail` is no text.
    """

    reason: Reason = Reason.FINISHED
    detail: str = ""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.reason, Reason) or not isinstance(self.detail, str):
            raise _fault("Completed", self.reason, self.detail, Reason.FINISHED)
        if type(self.detail) is not str:  # a subclass may have methods that raise
            object.__setattr__(self, "detail", str.__str__(self.detail))


FINISHED: Final = Completed()
"""The outcome of a session that both sides closed by themselves: one object for all of them."""


def _fault(name: str, reason: object, detail: object, example: Reason) -> TypeError:
    """Make the error of an answer with wrong arguments, with the mend."""
    if isinstance(reason, Reason):
        return TypeError(f"{name}({reason!s}, {quote(detail)}): the detail must be text")
    meant = next((each for each in Reason if each == reason), example)
    words = detail or (reason if meant != reason else "")
    text = f", {quote(words)}" if isinstance(words, str) and words else ""
    return TypeError(f"{name}({quote(reason)}) needs a Reason: write te.{name}(te.Reason.{meant.name}{text})")


Verdict: TypeAlias = Literal[Continue.CONTINUE] | Reject
"""The result of a decision."""

Outcome: TypeAlias = Completed | Reject
"""The result of an endpoint or a middleware."""
