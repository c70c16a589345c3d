"""The third kind of stage: a handshake, a generator that talks with the client before its bytes flow.

A handshake is ``(Session) -> Steps``. It yields commands, each of which its driver carries out and answers:

| command | answer | meaning |
| --- | --- | --- |
| ``Read(n)`` | n bytes | the client's next bytes |
| ``ReadUntil(mark)`` | the bytes through the mark | the client's next line, or head |
| ``Peek(n)`` | at least n bytes, all that are there | the same, left for the next command or for the upstream |
| ``Peek(n, seconds)`` | what is there by then, or at the client's end | for servers that may speak first |
| ``Send(data)`` | None | bytes to the client, written at once |
| ``StartTls(context)`` | the ``TlsInfo`` | the bytes that follow are TLS, both ways |
| ``Background(f, ...)`` | what ``await f(...)`` gives | a slow answer, awaited in a task |
| ``PROCEED`` | None once connected, else the outcome | the rest of the chain runs; only ``Send`` may follow |

It returns CONTINUE or a :class:`Reject`. It waits for nothing but its own client and what these name, never longer than
its `seconds`, and never takes more than its `max_bytes`; so it cannot stall another client, and needs no task. Bytes
that it has not read go to the upstream first.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, Protocol, TypeAlias, overload, runtime_checkable

import attrs

from ..arguments import count_fault, number_fault
from ..errors import quote
from .session import Session
from .verdict import Verdict

SECONDS: Final = 10.0
MAX_BYTES: Final = 4_096


class Read:
    """Take exactly `count` bytes of the client; 0 gives none at once."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        if type(count) is not int or count < 0:
            raise TypeError(f"Read({quote(count)}) must be a number of bytes, 0 or more")
        self.count = count

    def __repr__(self) -> str:
        return f"Read({self.count})"


class ReadUntil:
    """Take the client's bytes up to `mark` and with it, at most `max_bytes`; None for the handshake's bound."""

    __slots__ = ("mark", "max_bytes")

    def __init__(self, mark: bytes, max_bytes: int | None = None) -> None:
        if not isinstance(mark, bytes) or not mark:
            raise TypeError(f"ReadUntil({quote(mark)}) needs bytes to look for, as in ReadUntil(b'\\r\\n')")
        if max_bytes is not None and count_fault(max_bytes):
            raise TypeError(f"ReadUntil(max_bytes={quote(max_bytes)}) must be a number of bytes above 0, or None")
        self.mark = mark
        self.max_bytes = max_bytes

    def __repr__(self) -> str:
        return f"ReadUntil({quote(self.mark)})"


class Peek:
    """Look at the client's bytes and leave them there: all, and at least `count`.

    With `seconds` it is answered after so long with what is there, also with nothing; at once if the client sends no
    more.
    """

    __slots__ = ("count", "seconds")

    def __init__(self, count: int, seconds: float | None = None) -> None:
        if type(count) is not int or count < 1:
            raise TypeError(f"Peek({quote(count)}) must be a number of bytes above 0")
        if seconds is not None and number_fault(seconds):
            raise TypeError(f"Peek(seconds={quote(seconds)}) must be a number of seconds, or None")
        self.count = count
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"Peek({self.count})" if self.seconds is None else f"Peek({self.count}, seconds={self.seconds:g})"


class Send:
    """Write `data` to the client at once; a client whose buffers are full is refused."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"Send({quote(data)}) needs bytes")
        self.data = data

    def __repr__(self) -> str:
        return f"Send({len(self.data)} bytes)"  # they may be secrets


class StartTls:
    """Serve TLS from the client's next byte on.

    Attributes:
        context: a server's `ssl.SSLContext`.
    """

    __slots__ = ("context",)

    def __init__(self, context: Any) -> None:
        if not hasattr(context, "wrap_bio"):
            raise TypeError(f"StartTls({quote(context)}) needs an ssl.SSLContext of a server")
        self.context = context


class Background:
    """Await ``function(*args)`` in a task: the slow way, so ask memory first.

    An edge runs 256 at a time, and 16 of one source; each may take 10 s. Beyond that the client is refused. It is
    cancelled when the session ends.
    """

    __slots__ = ("args", "function")

    def __init__(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        if not callable(function):
            raise TypeError(f"Background({quote(function)}) needs an async function, not called yet, and its arguments")
        self.function = function
        self.args = args

    def __repr__(self) -> str:
        return f"Background({getattr(self.function, '__name__', 'function')})"  # arguments may be secrets


class Proceed:
    """The type of :data:`PROCEED`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PROCEED"


PROCEED: Final = Proceed()
"""Run the rest of the chain: the decisions behind, then the connect.

Answered with None once the upstream is connected, or once an endpoint of the user's own first uses ``session.stream``;
with the outcome if it came to nothing: bytes that are sent then are delivered, and the session closed in order. Once a
session.
Meanwhile the client is not read, and `seconds` stands still.
"""

Command: TypeAlias = Read | ReadUntil | Peek | Send | StartTls | Background | Proceed
Steps: TypeAlias = Generator[Command, Any, Verdict]
"""A handshake that has begun."""


@runtime_checkable
class Handshake(Protocol):
    """A stage that talks with the client first.

    It may have the attributes `seconds` (10) and `max_bytes` (4,096), its bounds, and `proceeds`, which says that it
    yields :data:`PROCEED`; and those of every stage.
    """

    def converse(self, session: Session, /) -> Steps:
        """A generator function, which yields commands and returns CONTINUE or Reject."""


@attrs.frozen(slots=True, repr=False)
class FunctionHandshake:
    """A generator function as a handshake; still callable, so it is tested as the function it is."""

    converse: Callable[[Session], Steps]
    seconds: float = SECONDS
    max_bytes: int = MAX_BYTES
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    proceeds: bool = False
    policy: type[Any] | None = None

    def __call__(self, session: Session) -> Steps:
        return self.converse(session)

    def __repr__(self) -> str:
        return f"handshake({getattr(self.converse, '__name__', None) or quote(self.converse)})"


HandshakeFunction: TypeAlias = Callable[[Session], Steps]


@overload
def handshake(function: HandshakeFunction, /) -> FunctionHandshake: ...
@overload
def handshake(
    *, provides: tuple[str, ...] = (), requires: tuple[str, ...] = (), seconds: float = SECONDS,
    max_bytes: int = MAX_BYTES, proceeds: bool = False, policy: type[Any] | None = None,
) -> Callable[[HandshakeFunction], FunctionHandshake]: ...  # fmt: skip
def handshake(
    function: HandshakeFunction | None = None,
    /,
    *,
    provides: tuple[str, ...] = (),
    requires: tuple[str, ...] = (),
    seconds: float = SECONDS,
    max_bytes: int = MAX_BYTES,
    proceeds: bool = False,
    policy: type[Any] | None = None,
) -> FunctionHandshake | Callable[[HandshakeFunction], FunctionHandshake]:
    """Make a stage of a generator function of the session.

    Args:
        function: yields commands, and returns CONTINUE or a :class:`Reject`.
        provides: session fields that it writes, such as ``("service",)``.
        requires: session fields that it reads; an earlier stage must have written them.
        seconds: the limit of the whole handshake, above 0; it stands still behind ``PROCEED``.
        max_bytes: the most bytes that it may take from the client, 1 or more.
        proceeds: whether it yields ``PROCEED``. A chain is then refused that has another handshake behind it, because
            the client says nothing more before it has its answer.
        policy: an attrs class whose fields every policy may then set: ``session.policy[Hours]`` gives them.
    """

    def lift(function: HandshakeFunction) -> FunctionHandshake:
        return FunctionHandshake(function, seconds, max_bytes, requires, provides, proceeds, policy)

    return lift if function is None else lift(function)
