"""The stages that name a session's service."""

from collections.abc import Callable, Mapping
from typing import Final

from ..addresses.address import parse_address
from ..arguments import Fixed, check_plain
from ..errors import MAX_FAULT_LETTERS, ConfigurationError, quote
from ..services.service import UNKNOWN_SERVICE
from ..services.services import DEFAULT_SERVICE, MAX_NAME_LENGTH
from ..session.handshake import Steps
from ..session.session import Session
from ..session.verdict import CONTINUE, Reason, Reject, Verdict
from ..wire.client_hello import MAX_BYTES
from .handshakes.hello import peek_hello, refuse_hello


class Identify(Fixed):
    """Name the session's service.

    A session that came by a listener of its service, as a policy's `listen` names it, has that service already, and
    passes. Of all others, a service that the control plane does not name, or has disabled, is refused with reason
    ``service``. On an edge without a control plane every name is a service. O(1), about half a microsecond.
    """

    __slots__ = ("_name_of", "_text", "listeners")

    provides = ("service",)
    once = True

    def __init__(self, by: str | Mapping[str, str] | Callable[[Session], str | None] = DEFAULT_SERVICE) -> None:
        """Set the source of the name.

        Args:
            by: one name for all sessions; or names by listener, as the edge's `listen` has them, so that sessions of
                all other listeners are refused; or a function of the session that answers from memory, and gives None
                for a session that is refused.

        Raises:
            ConfigurationError: `by` is none of these, or has a listener that is no address, or a name that is no text
                of 1 to 255 letters. The edge refuses a listener on which it does not listen.
        """
        self.listeners: frozenset[str] = frozenset()
        """The listeners that are named."""
        if isinstance(by, str):
            _check_name(by)
            self._text = f"Identify({by!r})"
            self._name_of: Callable[[Session], str | None] = lambda _: by
        elif isinstance(by, Mapping):
            by_listener = {str(parse_address(address, listening=True)): _check_name(by[address]) for address in by}
            self.listeners = frozenset(by_listener)
            self._text = f"Identify({by_listener!r})"
            self._name_of = lambda session: by_listener.get(session.listener)
        elif callable(by):
            check_plain("Identify", by)
            self._text = f"Identify({getattr(by, '__name__', None) or quote(by)})"
            self._name_of = by
        else:
            raise ConfigurationError(
                f"Identify({quote(by)}) must be a name, names by listener, or a function of a session"
            )

    @staticmethod
    def by_sni() -> "IdentifyBySni":
        """Name the service by the server name of the client's TLS hello: a handshake, in place of this decision."""
        return IdentifyBySni()

    def __repr__(self) -> str:
        return self._text

    def decide(self, session: Session) -> Verdict:
        """Name the service; refuse a session without a name. The chain refuses an unknown or disabled service."""
        if session.by_listener:
            return CONTINUE
        name = self._name_of(session)
        if name is None:
            return UNKNOWN_SERVICE
        session.service = name
        return CONTINUE


class IdentifyBySni(Fixed):
    """Name the session's service by the server name that a TLS client asks for: ``Identify.by_sni()`` makes it.

    The hello is left for the upstream, as :class:`SniRoute` leaves it; a client is refused in the same words. One that
    names no host is refused with reason ``service``. Names are in lower case and without a dot at the end. A session
    that came by a listener of its service passes, and its hello is not read.
    """

    provides = ("service",)
    once = True
    seconds = 10.0
    max_bytes = MAX_BYTES

    def __repr__(self) -> str:
        return "Identify.by_sni()"

    def converse(self, session: Session) -> Steps:
        """Wait for the hello and name the service by it."""
        if session.by_listener:
            return CONTINUE
        hello = yield from peek_hello(session)
        if isinstance(hello, Reject):
            return hello
        if hello.server_name is None:
            return (yield from refuse_hello(hello, _NAMELESS))
        session.service = hello.server_name
        if session.refusal is not None:
            return (yield from refuse_hello(hello, session.refusal))
        return CONTINUE


_NAMELESS: Final = Reject(Reason.SERVICE, "the client names no host")


def _check_name(name: object) -> str:
    if isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH:
        return name
    raise ConfigurationError(
        f"Identify: the service name {quote(name, MAX_FAULT_LETTERS)} must be text of 1 to {MAX_NAME_LENGTH} letters"
    )
