"""The fields of a session that stages read and write; each value is checked when it is written."""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from ..addresses.address import Address, parse_address
from ..addresses.destination_rules import AddressRules
from ..errors import MAX_FAULT_LETTERS, ConfigurationError, quote
from .allowance import Allowance
from .edge_fields import EdgeFields, read_only, use_c_getters
from .state import State
from .surroundings import Home, PendingAnswer
from .verdict import Outcome, Reason

if TYPE_CHECKING:
    from ..services.policy import Policy
    from ..services.service import Service
    from .session import Session

IDLE_SECONDS: Final = 600.0
HALF_CLOSED_SECONDS: Final = 60.0

Keys: TypeAlias = "tuple[int, Service, bytes, str | None]"
"""A session's id, service, source's key and device, by which the registry finds it."""

CleanUp: TypeAlias = "Callable[[Session], object]"
"""A function that is called with a session when it has ended; it must not wait."""


@runtime_checkable
class ByteStream(Protocol):
    """A client's byte stream, as `trio.abc.HalfCloseableStream` has it."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive at least one byte, or none at the end."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""

    async def aclose(self) -> None:
        """Close the stream."""


class SessionFields(EdgeFields):
    """A session's fields, each read-only or checked at the assignment; it notifies its follower that bytes move."""

    __slots__ = (
        "_accepted",
        "_address_rules",
        "_allowance",
        "_cut_detail",
        "_cut_reason",
        "_destination",
        "_device",
        "_down_rate",
        "_half_closed_seconds",
        "_home",
        "_id",
        "_idle_seconds",
        "_listener",
        "_outcome",
        "_peer",
        "_service",
        "_source",
        "_source_bytes",
        "_source_key",
        "_source_port",
        "_started_at",
        "_state",
        "_stream",
        "_up_rate",
    )  # fmt: skip

    id: Final[int] = read_only("_id")
    """Unique within a run of the edge, counting up from 1."""
    listener: Final[str] = read_only("_listener")
    """The address it was accepted on, such as ``tcp://127.0.0.1:6380``."""
    source: Final[str] = read_only("_source", "call session.set_source(address)")
    """The client's address as text, IPv4-mapped IPv6 written as IPv4; ``unix`` for a local socket."""
    source_bytes: Final[bytes] = read_only("_source_bytes")
    """The same, packed: 4 bytes, 16 bytes, or none for a local socket. Matchers compare it."""
    source_key: Final[bytes] = read_only("_source_key")
    """The packed prefix of it that limits count as one client, all other bits 0: see ``Edge(source_prefix=…)``."""
    source_port: Final[int] = read_only("_source_port")
    """The client's port; 0 for a local socket, or where it is not known."""
    started_at: Final[float] = read_only("_started_at")
    """When it was accepted, in seconds of the edge's clock."""
    down_rate: Final[float] = read_only("_down_rate", "call session.pace(down, up)")
    """Bytes a second to the client; infinity for no limit. :meth:`pace` changes it."""
    up_rate: Final[float] = read_only("_up_rate", "call session.pace(down, up)")
    """Bytes a second to the upstream."""
    outcome: Final[Outcome | None] = read_only("_outcome")
    """How it ended; None while it lives."""
    address_rules: Final[tuple[AddressRules, ...]] = read_only("_address_rules", "call session.judge_addresses(rules)")
    """Rules that an address of the name in `destination` must pass, beside ``Forward(allow=…)``."""
    cut_reason: Final[Reason | None] = read_only("_cut_reason")
    """Why it was cut; None unless it was."""

    def __init__(
        self, id: int, listener: str, source: str, source_bytes: bytes, source_port: int, now: float,  # noqa: A002
        service: "Service", home: Home,
    ) -> None:  # fmt: skip
        """Begin a session; the edge does this at accept, and :func:`trioedge.testing.make_session` in tests."""
        self.quiet, self._callback = False, None
        self._began, self._by_listener, self._stamp = False, False, 0  # outside of every endpoint, index and task
        self._answer: PendingAnswer | None = None
        self._refusal = self._carrier = self._scope = self._index = self._follower = self._trace = self._upstream = None
        self._id, self._listener, self._started_at = id, listener, now
        self._source, self._source_bytes, self._source_port = source, source_bytes, source_port
        prefix = home.source_prefix
        self._source_key = source_bytes if len(source_bytes) < prefix.cut_from else prefix.key(source_bytes)
        self._peer: tuple[str, bytes, bytes] | None = None  # its address, bytes and key, once a stage moved the source
        self._service, self._home = service, home
        self._destination: str | None = None
        self._address_rules: tuple[AddressRules, ...] = ()
        self._device: str | None = None
        self._idle_seconds, self._half_closed_seconds = IDLE_SECONDS, HALF_CLOSED_SECONDS
        self._down_rate = self._up_rate = inf
        self._allowance: Allowance | None = None
        self._stream: Any = None
        self._accepted: Any = None
        self._state: State | None = None
        self._deferred = None
        self._outcome: Outcome | None = None
        self._cut_reason: Reason | None = None
        self._cut_detail = ""

    @property
    def peer(self) -> str:
        """The address that connected: the client's, or the balancer's that forwards it. Never changes."""
        return self._source if self._peer is None else self._peer[0]

    @property
    def peer_bytes(self) -> bytes:
        """The same, packed."""
        return self._source_bytes if self._peer is None else self._peer[1]

    @property
    def peer_key(self) -> bytes:
        """The packed prefix of it that limits count as one client, as `source_key` is that of the source."""
        return self._source_key if self._peer is None else self._peer[2]

    @property
    def now(self) -> float:
        """The edge's clock in seconds; for leading decisions, the time of the current batch of events."""
        return self._home.clock.now

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
        if destination is not None and not isinstance(destination, Address):
            try:
                destination = parse_address(destination)
            except ConfigurationError as error:
                raise misread("session.destination", error) from None
        self._destination = None if destination is None else str(destination)

    @property
    def idle_seconds(self) -> float:
        """The session is cut after this long without a byte either way; above 0."""
        return self._idle_seconds

    @idle_seconds.setter
    def idle_seconds(self, seconds: float) -> None:
        self._idle_seconds = above_zero("session.idle_seconds", seconds, "seconds")

    @property
    def half_closed_seconds(self) -> float:
        """The same, once one side has finished sending."""
        return self._half_closed_seconds

    @half_closed_seconds.setter
    def half_closed_seconds(self, seconds: float) -> None:
        self._half_closed_seconds = above_zero("session.half_closed_seconds", seconds, "seconds")

    @property
    def allowance(self) -> Allowance | None:
        """Bytes it may still move before its device is known; None for no bound. Read when the relay begins."""
        return self._allowance

    @allowance.setter
    def allowance(self, allowance: Allowance | None) -> None:
        if allowance is not None and not isinstance(allowance, Allowance):
            raise TypeError(f"session.allowance = {quote(allowance)} must be an Allowance or None")
        self._allowance = allowance

    @property
    def stream(self) -> Any:
        """The client's byte stream, a `trio.abc.HalfCloseableStream`, for middlewares and endpoints with a task.

        A middleware that wraps it assigns the stream that the next stage is to see. None for a session without a task.
        """
        return self._stream

    @stream.setter
    def stream(self, stream: ByteStream) -> None:
        # Not `isinstance`, which takes 12 µs for a protocol.
        if not (hasattr(stream, "receive_some") and hasattr(stream, "send_all") and hasattr(stream, "aclose")):
            raise TypeError(
                f"session.stream = {quote(stream)} must be a stream, with receive_some, send_all and aclose"
            )
        if self._accepted is None:
            self._accepted = stream
        self._stream = stream

    @property
    def accepted(self) -> Any:
        """The stream that the edge accepted, beneath those that middlewares have put around it."""
        return self._accepted

    def judge_addresses(self, rules: AddressRules) -> None:
        """Connect only to addresses of `destination` that these rules accept too; nothing once the endpoint began."""
        if not isinstance(rules, AddressRules):
            raise TypeError(f"session.judge_addresses({quote(rules)}) needs AddressRules")
        if not self._began and rules not in self._address_rules:
            self._address_rules = (*self._address_rules, rules)

    # The edge calls these; stages do not.

    def keys(self) -> Keys:
        """Give its keys for the registry, at once, because each field that is read costs a call of its getter."""
        return self._id, self._service, self._source_key, self._device

    def is_paced(self) -> bool:
        """Tell whether it has a rate."""
        return self._down_rate != inf or self._up_rate != inf

    def enter(self, service: "Service") -> None:
        """Set the service. For a registered session only the registry calls this."""
        self._service = service

    def live_in(self, home: Home) -> None:
        """Replace the clock and the look-up of services; a session with a task reads the clock each time."""
        self._home = home

    def come_from(self, source: str, packed: bytes, port: int) -> None:
        """Have another source; the registry calls this."""
        self._source, self._source_bytes, self._source_port = source, packed, port
        self._source_key = self._home.source_prefix.key(packed)

    def use(self, device: str | None) -> None:
        """Have another device; the registry calls this."""
        self._device = device


use_c_getters(
    SessionFields, now="_home.clock.now", policy="_service.policy", destination="_destination",
    idle_seconds="_idle_seconds", half_closed_seconds="_half_closed_seconds", allowance="_allowance", stream="_stream",
)  # fmt: skip


def above_zero(name: str, value: object, unit: str) -> float:
    """Check that a value is a number above 0, or infinity, and give it as a float.

    Raises:
        TypeError: ``session.idle_seconds = 0 must be a number of seconds above 0``.
    """
    if type(value) is float and value > 0:  # in the usual case, 60 ns
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        try:
            number = float(value)
        except OverflowError:  # an integer larger than every float
            number = 0.0
        if number > 0:  # a subclass may compare as it likes
            return number
    raise TypeError(f"{name} = {quote(value)} must be a number of {unit} above 0")


def misread(name: str, error: ConfigurationError) -> ConfigurationError:
    """Put the name of a field before an error, and shorten the error, because it quotes text of any length."""
    return ConfigurationError(f"{name}: {error!s:.{MAX_FAULT_LETTERS}}")
