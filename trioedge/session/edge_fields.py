"""The fields of a session that only the edge writes: its registry, its carrier, its task and its times."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from ..addresses.address import Address
from ..errors import quote
from .notifier import Notifier
from .surroundings import Carrier, Follower, Index, PendingAnswer, Scope
from .verdict import Reject


def read_only(slot: str, mend: str = "") -> Any:
    """Make a field that is read and not written; reading it costs 30 ns.

    Args:
        slot: keeps the value.
        mend: names the method that changes it, for the message of a refused assignment.
    """
    if not mend:
        return property(attrgetter(slot))

    def refuse(*_: object) -> None:
        raise AttributeError(f"session.{slot[1:]} cannot be assigned: {mend}")

    return property(attrgetter(slot), refuse)


def use_c_getters(cls: type, **slots: str) -> None:
    """Give properties getters in C: 30 ns instead of 60 to 100, and several are read in each session."""
    for name, slot in slots.items():
        written = cls.__dict__[name]
        faster = property(attrgetter(slot), written.fset, None, written.__doc__)
        faster.__set_name__(cls, name)  # type: ignore[attr-defined]  # so that messages name the field
        setattr(cls, name, faster)


class EdgeFields(Notifier):
    """A session's place in its edge.

    Only the edge writes these fields. Each refuses a value of the wrong type.
    """

    __slots__ = ("_answer", "_began", "_by_listener", "_carrier", "_deferred", "_follower", "_index", "_refusal",
                 "_scope", "_stamp", "_trace", "_upstream")  # fmt: skip

    refusal: Final[Reject | None] = read_only("_refusal")
    """The refusal of the service that a stage has named; the chain reads it behind each stage."""
    by_listener: Final[bool] = read_only("_by_listener")
    """Whether it came by a listener that the policy of its service names. It is refused with reason ``service`` if a
    stage names another service then."""
    trace: Final[list[int] | None] = read_only("_trace")
    """Nanoseconds of each stage, in order of execution; None before the first stage, and without a clock."""
    follower: Final[Follower | None] = read_only("_follower", "call session.follow(follower)")
    """Who is notified when its bytes move; None where none is."""
    deferred: "Final[list[Callable[[Any], object]] | None]" = read_only("_deferred", "call session.defer(clean_up)")
    """The clean-ups that its end runs, the last one first; None where none was deferred."""
    stamp: Final[int] = read_only("_stamp")
    """When the latest middleware was entered, for `trace`."""
    upstream: Final[Address | None] = read_only("_upstream")
    """Where its endpoint connects it; None before, and where the endpoint opens the connection itself."""

    # SessionFields.__init__ sets all of them at once: a constructor of their own would cost each session 0.1 µs.
    _answer: PendingAnswer | None
    _began: bool
    _by_listener: bool
    _refusal: Reject | None
    _carrier: Carrier | None
    _scope: Scope | None
    _index: Index | None
    _deferred: list[Callable[[Any], object]] | None
    _follower: Follower | None
    _trace: list[int] | None
    _stamp: int
    _upstream: Address | None

    @property
    def began(self) -> bool:
        """Whether its endpoint has begun; `service` is final from then on."""
        return self._began

    @began.setter
    def began(self, began: bool) -> None:
        if not isinstance(began, bool):
            raise _not_for_stages("began", began)
        self._began = began

    @property
    def carrier(self) -> Carrier | None:
        """What moves its bytes; None before and outside an endpoint."""
        return self._carrier

    @carrier.setter
    def carrier(self, carrier: Carrier | None) -> None:
        if carrier is not None and not hasattr(carrier, "cut"):
            raise _not_for_stages("carrier", carrier)
        self._carrier = carrier

    @property
    def scope(self) -> Scope | None:
        """The cancel scope of its task; None while it has no task."""
        return self._scope

    @scope.setter
    def scope(self, scope: Scope) -> None:
        if not hasattr(scope, "cancel"):
            raise _not_for_stages("scope", scope)
        self._scope = scope

    @property
    def index(self) -> Index | None:
        """Where it is registered; None before it is accepted and once it has ended."""
        return self._index

    @index.setter
    def index(self, index: Index | None) -> None:
        if index is not None and not hasattr(index, "move"):
            raise _not_for_stages("index", index)
        self._index = index

    @property
    def answer(self) -> PendingAnswer | None:
        """The handshake that has proceeded, until the client has its answer; None where none has."""
        return self._answer

    def await_answer(self, answer: PendingAnswer) -> None:
        """Note that a handshake has proceeded."""
        self._answer = answer

    def take_answer(self) -> PendingAnswer | None:
        """Give the handshake that has proceeded, once: the caller gives the client its answer."""
        answer, self._answer = self._answer, None
        return answer

    def come_by_listener(self) -> None:
        """Note that its service is that of the listener."""
        self._by_listener = True

    def begin_trace(self) -> list[int]:
        """Make the list in which the chain notes how long each stage took."""
        trace: list[int] = []
        self._trace = trace
        return trace

    def enter_middleware(self, now: int) -> None:
        """Note when a middleware was entered, in nanoseconds."""
        self._stamp = now

    def lead_to(self, upstream: Address) -> None:
        """Note where the session is connected; the endpoint calls this before it connects."""
        self._upstream = upstream

    def follow(self, follower: Follower | None) -> None:
        """Replace the follower, or remove it with None, and notify the former one that the session left.

        After ``session.listen()`` the follower is notified once, at the next byte in either direction.

        Raises:
            TypeError: `follower` has no ``moved()`` or no ``left()``.
        """
        if follower is not None and not (hasattr(follower, "moved") and hasattr(follower, "left")):
            raise TypeError(f"session.follow({quote(follower)}) must have moved() and left(), or be None")
        before, self._follower = self._follower, follower
        self.attach(None if follower is None else follower.moved)
        if before is not None:
            before.left()


use_c_getters(EdgeFields, began="_began", carrier="_carrier", scope="_scope", index="_index")


def _not_for_stages(name: str, value: object) -> TypeError:
    return TypeError(f"session.{name} = {quote(value)}: only the edge writes this field")
