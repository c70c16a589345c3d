"""The fields of a session: what a stage may read, and what it may write after a check."""

from collections.abc import Callable
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from ..addresses.address import Address, parse_address
from .allowance import Allowance
from .notifier import Notifier
from .state import State
from .surroundings import Carrier, Follower, Home, Index, Scope
from .verdict import Outcome, Reason, Reject

if TYPE_CHECKING:
    from ..services.policy import Policy
    from ..services.service import Service
    from .session import Session

IDLE_SECONDS: Final = 600.0
HALF_CLOSED_SECONDS: Final = 60.0

CleanUp: TypeAlias = "Callable[[Session], object]"


@runtime_checkable
class ByteStream(Protocol):
    """A client's byte stream, as `trio.abc.HalfCloseableStream` has it."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive at least one byte, or none at the end."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""

    async def aclose(self) -> None:
        """Close the stream."""


def _read_only(slot: str) -> Any:
    """Make a field that stages may read and not write; reading it costs 30 ns."""
    return property(attrgetter(slot))


class SessionFields(Notifier):
    """A session's fields, each read-only or checked at the assignment; it notifies its follower that bytes move."""

    __slots__ = (
        "_allowance",
        "_clock",
        "_cut_reason",
        "_deferred",
        "_destination",
        "_device",
        "_down_rate",
        "_find",
        "_half_closed_seconds",
        "_id",
        "_idle_seconds",
        "_listener",
        "_outcome",
        "_peer",
        "_service",
        "_source",
        "_source_bytes",
        "_source_port",
        "_started_at",
        "_state",
        "_stream",
        "_up_rate",
        "began",
        "carrier",
        "follower",
        "index",
        "refusal",
        "scope",
        "stamp",
        "trace",
    )  # fmt: skip

    id: Final[int] = _read_only("_id")
    """Unique within the process, counting up from 1."""
    listener: Final[str] = _read_only("_listener")
    """The address it was accepted on, such as ``tcp://127.0.0.1:6380``."""
    source: Final[str] = _read_only("_source")
    """The client's address as text, IPv4-mapped IPv6 written as IPv4; ``unix`` for a local socket."""
    source_bytes: Final[bytes] = _read_only("_source_bytes")
    """The same, packed: 4 bytes, 16 bytes, or none for a local socket. Matchers compare it."""
    source_port: Final[int] = _read_only("_source_port")
    """The client's port; 0 for a local socket, or where it is not known."""
    started_at: Final[float] = _read_only("_started_at")
    """When it was accepted, in seconds of the edge's clock."""
    down_rate: Final[float] = _read_only("_down_rate")
    """Bytes a second to the client; infinity for no limit. :meth:`pace` changes it."""
    up_rate: Final[float] = _read_only("_up_rate")
    """Bytes a second to the upstream."""
    outcome: Final[Outcome | None] = _read_only("_outcome")
    """How it ended; None while it lives."""
    cut_reason: Final[Reason | None] = _read_only("_cut_reason")
    """Why it was cut; None unless it was."""

    def __init__(
        self, id: int, listener: str, source: str, source_bytes: bytes, source_port: int, now: float,  # noqa: A002
        service: "Service", home: Home,
    ) -> None:  # fmt: skip
        """Begin a session; the edge does this at accept, and :func:`trioedge.testing.make_session` in tests."""
        self.quiet, self._callback = False, None
        self._id, self._listener, self._started_at = id, listener, now
        self._source, self._source_bytes, self._source_port = source, source_bytes, source_port
        self._peer: tuple[str, bytes] | None = None  # who connected, once a stage has moved the source
        self._service, self._clock, self._find = service, home.clock, home.find
        self._destination: str | None = None
        self._device: str | None = None
        self._idle_seconds, self._half_closed_seconds = IDLE_SECONDS, HALF_CLOSED_SECONDS
        self._down_rate = self._up_rate = inf
        self._allowance: Allowance | None = None
        self._stream: Any = None
        self._state: State | None = None
        self._deferred: list[CleanUp] | None = None
        self._outcome: Outcome | None = None
        self._cut_reason: Reason | None = None
        # The edge's own, from here on.
        self.began = False  # its endpoint has begun: the service is final
        self.refusal: Reject | None = None  # of the service that a stage named; the chain looks behind each stage
        self.carrier: Carrier | None = None  # None before and outside an endpoint
        self.scope: Scope | None = None  # what its task runs in; None while it has no task
        self.index: Index | None = None  # where it is registered; None before it is accepted
        self.follower: Follower | None = None
        self.trace: list[int] | None = None  # nanoseconds of each stage, in order of execution
        self.stamp = 0  # when the latest stage was entered or left, for `trace`

    @property
    def peer(self) -> str:
        """The address that connected: the client's, or the balancer's that forwards it. Never changes."""
        return self._source if self._peer is None else self._peer[0]

    @property
    def peer_bytes(self) -> bytes:
        """The same, packed."""
        return self._source_bytes if self._peer is None else self._peer[1]

    @property
    def now(self) -> float:
        """The edge's clock in seconds; for leading decisions, the time of the current batch of events."""
        return self._clock.now

    @property
    def policy(self) -> "Policy":
        """The policy of its service; ``policy[Hours]`` gives the keys of a user's stage."""
        return self._service.policy

    @property
    def state(self) -> State:
        """Users' data, one value of each type: ``session.state[Login]``."""
        if self._state is None:
            self._state = State()
        return self._state

    @property
    def destination(self) -> str | None:
        """Where a stage wants it to go, as ``tcp://host:port``; only ``Forward()`` without a `to` goes there."""
        return self._destination

    @destination.setter
    def destination(self, destination: str | Address | None) -> None:
        if destination is not None:
            destination = str(destination if isinstance(destination, Address) else parse_address(destination))
        self._destination = destination

    @property
    def idle_seconds(self) -> float:
        """The session is cut after this long without a byte either way; above 0."""
        return self._idle_seconds

    @idle_seconds.setter
    def idle_seconds(self, seconds: float) -> None:
        self._idle_seconds = _seconds("idle_seconds", seconds)

    @property
    def half_closed_seconds(self) -> float:
        """The same, once one side has finished sending."""
        return self._half_closed_seconds

    @half_closed_seconds.setter
    def half_closed_seconds(self, seconds: float) -> None:
        self._half_closed_seconds = _seconds("half_closed_seconds", seconds)

    @property
    def allowance(self) -> Allowance | None:
        """Bytes it may still move before its device is known; None for no bound. Read when the relay begins."""
        return self._allowance

    @allowance.setter
    def allowance(self, allowance: Allowance | None) -> None:
        if allowance is not None and not isinstance(allowance, Allowance):
            raise TypeError(f"session.allowance = {allowance!r:.100} must be an Allowance or None")
        self._allowance = allowance

    @property
    def stream(self) -> Any:
        """The client's byte stream, a `trio.abc.HalfCloseableStream`, for middlewares and endpoints with a task.

        A middleware that wraps it assigns the stream that the next stage is to see. None for a session without a task.
        """
        return self._stream

    @stream.setter
    def stream(self, stream: ByteStream) -> None:
        if not isinstance(stream, ByteStream):
            raise TypeError(
                f"session.stream = {stream!r:.100} must be a stream, with receive_some, send_all and aclose"
            )
        self._stream = stream


def use_c_getters(cls: type, **slots: str) -> None:
    """Give properties getters in C: 30 ns instead of 60 to 100, and decisions read several of them a session."""
    for name, slot in slots.items():
        written = cls.__dict__[name]
        setattr(cls, name, property(attrgetter(slot), written.fset, None, written.__doc__))


use_c_getters(
    SessionFields, now="_clock.now", policy="_service.policy", destination="_destination",
    idle_seconds="_idle_seconds", half_closed_seconds="_half_closed_seconds", allowance="_allowance", stream="_stream",
)  # fmt: skip


def _seconds(name: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise TypeError(f"session.{name} = {value!r:.100} must be a number of seconds above 0")
    return value
