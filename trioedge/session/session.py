"""A session: one client from accept to close, as the stages see it. No socket is in here."""

from collections.abc import Callable
from math import inf
from typing import Any, Protocol, TypeAlias

import attrs

from .allowance import Allowance
from .meter import Meter
from .verdict import Outcome, Reason

DEFAULT_SERVICE = "default"
"""The service of every session on an edge whose stages name none."""

IDLE_SECONDS = 600.0
HALF_CLOSED_SECONDS = 60.0

CleanUp: TypeAlias = "Callable[[Session], object]"


class Carrier(Protocol):
    """Whoever moves a session's bytes at this moment: a connect attempt or a relay.

    One that moves bytes calls :meth:`Session.wake` if ``session.quiet``.
    """

    @property
    def phase(self) -> str:
        """What the session is doing, for people."""

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
        """Who keeps the session's rates: ``kernel``, ``timeline``, or nobody, as an empty text."""

    def queued(self) -> tuple[int, int]:
        """Bytes of `bytes_down` and `bytes_up` that the kernel has not sent yet."""

    def count_by(self, meters: tuple[Meter, Meter], /) -> None:
        """Count what moves from now on, up and down, for another service."""

    def pace(self, down_rate: float, up_rate: float, /) -> None:
        """Let other rates hold from now on, in bytes a second; infinity for none."""

    def cut(self, reason: Reason, /) -> None:
        """End it now; both its sockets are free when this returns."""


class Follower(Protocol):
    """Whoever divides a rate among sessions: told of one whose bytes move, and of nothing else that it does."""

    def moved(self) -> None:
        """Its bytes move, for the first time since :meth:`Session.listen`."""

    def left(self) -> None:
        """It has ended, or is of another service now; it is not followed any more."""


class Scope(Protocol):
    """A cancel scope, as floor 0 may say it."""

    def cancel(self) -> None:
        """Cancel what runs inside."""


class Index(Protocol):
    """Where a live session is found by its service."""

    def move(self, session: "Session", service: str, /) -> None:
        """Find the session under another service from now on."""

    def identify(self, session: "Session", device: str | None, /) -> None:
        """Find the session under another device from now on."""


@attrs.define(eq=False, slots=True, weakref_slot=False)
class Session:
    """One client of the edge, from accept to close.

    Stages read it and may write `service`, `device`, `destination`, `idle_seconds`, `half_closed_seconds`,
    `allowance` and, in a middleware, `stream`; everything else belongs to the edge.
    """

    id: int
    """Unique within the process, counting up from 1."""
    listener: str
    """The address it was accepted on, such as ``tcp://127.0.0.1:6380``."""
    source: str
    """The client's address as text, IPv4-mapped IPv6 written as IPv4; ``unix`` for a local socket."""
    source_bytes: bytes
    """The same, packed: 4 bytes, 16 bytes, or none for a local socket. What matchers compare."""
    source_port: int
    """The client's port; 0 for a local socket."""
    started_at: float
    """When it was accepted, in seconds of the edge's clock. Decisions take it for *now*."""
    _service: str = DEFAULT_SERVICE
    destination: str | None = None
    """Where a stage wants it to go; an endpoint with a destination of its own ignores it."""
    idle_seconds: float = IDLE_SECONDS
    """Cut after this long without a byte either way."""
    half_closed_seconds: float = HALF_CLOSED_SECONDS
    """The same, once one side has finished sending."""
    down_rate: float = inf
    """Bytes a second to the client; written by :meth:`pace`."""
    up_rate: float = inf
    """Bytes a second to the upstream."""
    allowance: Allowance | None = attrs.field(default=None, repr=False)
    """What it may still move before its device is known; None for no bound. Read when the relay begins."""
    stream: Any = None
    """The client's byte stream, for middlewares: a `trio.abc.HalfCloseableStream`. A middleware that wraps it
    (TLS) assigns what the next stage shall see. None on an edge without middlewares, where nobody reads it."""
    outcome: Outcome | None = None
    """How it ended; None while it lives."""
    carrier: Carrier | None = attrs.field(default=None, repr=False)
    """Who moves its bytes; None before and outside an endpoint."""
    scope: Scope | None = attrs.field(default=None, repr=False)
    """What its task runs in; None while it has no task."""
    index: Index | None = attrs.field(default=None, repr=False)
    """Where it is registered; None before it is accepted."""
    follower: Follower | None = attrs.field(default=None, repr=False)
    """Who is told when its bytes move again, see :meth:`follow`; None for a session without a rate."""
    quiet: bool = attrs.field(default=False, repr=False)
    """Its next byte is to be told: see :meth:`wake`."""
    trace: list[int] | None = attrs.field(default=None, repr=False)
    """Nanoseconds that each stage took, in order of execution."""
    stamp: int = attrs.field(default=0, repr=False)
    """When the latest stage was entered or left, for `trace`."""
    cut_reason: Reason | None = attrs.field(default=None, repr=False)
    """Why it was cut; None unless it was."""
    _device: str | None = attrs.field(default=None, init=False, repr=False)
    _deferred: list[CleanUp] | None = attrs.field(default=None, init=False, repr=False)

    @property
    def service(self) -> str:
        """Whose session this is: the tenant it counts for. A live one is moved to its new service at once."""
        return self._service

    @service.setter
    def service(self, service: str) -> None:
        if self.index is None:
            self._service = service
            if self.follower is not None:
                self.follow(None)
        else:
            self.index.move(self, service)

    @property
    def device(self) -> str | None:
        """What a device limit counts it under; None where none does."""
        return self._device

    @device.setter
    def device(self, device: str | None) -> None:
        if self.index is None:
            self._device = device
        else:
            self.index.identify(self, device)

    @property
    def pacing(self) -> str:
        """Who keeps its rates: ``kernel``, ``timeline``, or nobody, as an empty text."""
        return "" if self.carrier is None else self.carrier.pacing

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Let other rates hold from now on, also for bytes that wait already.

        Args:
            down_rate: bytes a second to the client, infinity for no limit.
            up_rate: the same to the upstream.
        """
        self.down_rate, self.up_rate = down_rate, up_rate
        if self.carrier is not None:
            self.carrier.pace(down_rate, up_rate)

    def follow(self, follower: Follower | None) -> None:
        """Have another follower, or none; the one before is told that it left."""
        before, self.follower, self.quiet = self.follower, follower, False
        if before is not None:
            before.left()

    def listen(self) -> None:
        """Have the follower told of the next byte, either way."""
        self.quiet = self.follower is not None

    def wake(self) -> None:
        """Tell that bytes move again; for whoever moves them."""
        self.quiet = False
        if self.follower is not None:
            self.follower.moved()

    @property
    def phase(self) -> str:
        """What it is doing: ``deciding``, ``handling``, ``connecting``, ``relaying`` or ``ended``."""
        if self.outcome is not None:
            return "ended"
        if self.carrier is not None:
            return self.carrier.phase
        return "deciding" if self.scope is None else "handling"

    @property
    def bytes_up(self) -> int:
        """Bytes handed to the upstream so far; still there when the session has ended."""
        return 0 if self.carrier is None else self.carrier.bytes_up

    @property
    def bytes_down(self) -> int:
        """Bytes handed to the client so far; still there when the session has ended."""
        return 0 if self.carrier is None else self.carrier.bytes_down

    def defer(self, clean_up: CleanUp) -> None:
        """Have `clean_up(session)` called when the session ends, however it ends; last in, first out.

        A bound method does: ``session.defer(self._leave)``. It must not wait and should not raise; one that
        raises is logged and the others still run. Costs a list append.
        """
        if self._deferred is None:
            self._deferred = [clean_up]
        else:
            self._deferred.append(clean_up)

    def end(self, outcome: Outcome) -> list[Exception]:
        """Write down `outcome` and run the deferred clean-ups; the edge calls this.

        Returns:
            What the clean-ups raised, which is nothing as a rule. A second call does nothing.
        """
        faults: list[Exception] = []
        if self.outcome is not None:
            return faults
        self.outcome = outcome
        if self.follower is not None:
            self.follow(None)
        while self._deferred:
            try:
                self._deferred.pop()(self)
            except Exception as fault:
                faults.append(fault)
        return faults

    def cut(self, reason: Reason) -> bool:
        """End the session now, wherever it is: free the sockets, then cancel the task if it has one.

        Returns:
            False if it had ended, or was being cut already.
        """
        if self.outcome is not None or self.cut_reason is not None:
            return False
        self.cut_reason = reason
        if self.carrier is not None:
            self.carrier.cut(reason)
        if self.scope is not None:
            self.scope.cancel()
        return True
