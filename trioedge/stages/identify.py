"""Whose session it is."""

from collections.abc import Callable, Mapping

from ..addresses.address import parse_address
from ..errors import ConfigurationError
from ..services.service import UNKNOWN_SERVICE
from ..services.services import DEFAULT_SERVICE
from ..session.session import Session
from ..session.verdict import CONTINUE, Verdict


class Identify:
    """Name the session's service; one that the control plane does not name, or has disabled, is refused.

    With reason ``service``. On an edge without a control plane every name is a service. About half a microsecond.
    """

    __slots__ = ("_name_of", "_text", "listeners")

    provides = ("service",)
    once = True

    def __init__(self, by: str | Mapping[str, str] | Callable[[Session], str | None] = DEFAULT_SERVICE) -> None:
        """Set where the name comes from.

        Args:
            by: one name for all sessions; or names by listener, as the edge's `listen` has them, where other
                listeners' sessions are refused; or a function of the session that answers from memory, with None for
                a session that is refused.

        Raises:
            ConfigurationError: `by` is none of these, or names a listener that cannot be.
        """
        self.listeners: frozenset[str] = frozenset()
        """The listeners that it names; the edge refuses one that it does not listen on."""
        if isinstance(by, str):
            self._text = f"Identify({by!r})"
            self._name_of: Callable[[Session], str | None] = lambda _: by
        elif isinstance(by, Mapping):
            by_listener = {str(parse_address(address, listening=True)): name for address, name in by.items()}
            self.listeners = frozenset(by_listener)
            self._text = f"Identify({by_listener!r})"
            self._name_of = lambda session: by_listener.get(session.listener)
        elif callable(by):
            self._text = f"Identify({getattr(by, '__name__', repr(by))})"
            self._name_of = by
        else:
            raise ConfigurationError(f"Identify({by!r}) must be a name, names by listener, or a function of a session")

    def __repr__(self) -> str:
        return self._text

    def decide(self, session: Session) -> Verdict:
        """Name the service, or refuse."""
        name = self._name_of(session)
        if name is None:
            return UNKNOWN_SERVICE
        session.service = name
        return CONTINUE
