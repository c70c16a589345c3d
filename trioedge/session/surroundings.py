"""The objects around a session, as protocols: its edge, registry, carrier, follower, cancel scope and log."""

from typing import TYPE_CHECKING, Protocol

from .verdict import Outcome, Reason, Reject, Verdict

if TYPE_CHECKING:
    from ..addresses.source_prefix import SourcePrefix
    from ..services.service import Service
    from .session import Session


class Clock(Protocol):
    """The edge's clock."""

    @property
    def now(self) -> float:
        """Seconds."""


class Home(Protocol):
    """The running edge, as a session needs it."""

    @property
    def clock(self) -> Clock:
        """The edge's clock."""

    @property
    def source_prefix(self) -> "SourcePrefix":
        """The part of an address that limits count as one source."""

    def find(self, service: object, /) -> "Service | Reject":
        """Give the live service of this name, or the refusal of one that is unknown or disabled.

        Raises:
            TypeError: `service` is neither a name nor a service.
        """


class Index(Protocol):
    """The registry in which a live session is found by its service, source and device."""

    def move(self, session: "Session", service: "Service", /) -> None:
        """Register the session under another service."""

    def move_source(self, session: "Session", source: str, packed: bytes, port: int, /) -> None:
        """Register the session under another source."""

    def identify(self, session: "Session", device: str | None, /) -> None:
        """Register the session under another device."""


class Carrier(Protocol):
    """The object that has a session's client now: its handshakes, a connect attempt or a relay.

    One that moves bytes calls ``session.wake()`` if ``session.quiet``.
    """

    @property
    def phase(self) -> str:
        """``handshaking``, ``connecting`` or ``relaying``."""

    @property
    def bytes_up(self) -> int:
        """Bytes handed to the upstream so far."""

    @property
    def bytes_down(self) -> int:
        """Bytes handed to the client so far."""

    @property
    def began_at(self) -> float | None:
        """When it began to relay; None while it connects."""

    @property
    def pacing(self) -> str:
        """What keeps the session's rates: ``kernel``, ``timeline``, or an empty text for neither."""

    def queued(self) -> tuple[int, int]:
        """Bytes of `bytes_down` and `bytes_up` that the kernel has not sent yet."""

    def pace(self, down_rate: float, up_rate: float, /) -> None:
        """Apply other rates from now on, in bytes a second; infinity for none."""

    def cut(self, reason: Reason, /) -> None:
        """End it now; both its sockets are free when this returns."""


class PendingAnswer(Protocol):
    """A handshake that has proceeded, and that has yet to tell the client how the connect ended."""

    @property
    def name(self) -> str:
        """Of its stage, for people."""

    def connected(self) -> tuple[bytes, Verdict]:
        """Give the bytes for a client that is connected, and the handshake's verdict."""

    def refused(self, outcome: Outcome, /) -> bytes:
        """Give the bytes for a client that is not."""

    def close(self) -> None:
        """End it without a word."""


class Follower(Protocol):
    """The follower of one session, such as a divider of rates; see :meth:`Session.follow`. It must not wait."""

    def moved(self) -> None:
        """Note that bytes of the session moved, either way, for the first time since ``session.listen()``."""

    def left(self) -> None:
        """Note that the session has ended, moved to another service or got another follower: this one is released."""


class Scope(Protocol):
    """A cancel scope, named here because the grammar knows no Trio."""

    def cancel(self) -> None:
        """Cancel the code inside."""


class FaultLog(Protocol):
    """The log of exceptions that users' code has raised."""

    def fault(self, event: str, fault: BaseException, **facts: object) -> None:
        """Log an exception with its traceback."""


class NoticeLog(Protocol):
    """The log of warnings, which may come often."""

    def notice(self, event: str, **facts: object) -> None:
        """Log a warning, at most once a second for each event, service, upstream and stage."""
