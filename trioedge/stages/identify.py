"""Whose session it is."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Final

from ..addresses.address import parse_address
from ..errors import ConfigurationError
from ..services.context import EdgeContext
from ..services.services import UNKNOWN_SERVICE
from ..session.session import DEFAULT_SERVICE, Session
from ..session.verdict import CONTINUE, Verdict

AS_NAMED: Final = attrgetter("service")
"""For the Identify that an edge puts behind a stage which names the service itself."""


class Identify:
    """Name the session's service, and refuse one that the control plane does not name or has disabled.

    With reason ``service``. On an edge without a control plane every service is known. About half a microsecond.
    """

    __slots__ = ("_name_of", "_services", "_text")

    provides = ("service",)
    enforces = ("enabled",)

    def __init__(self, by: str | Mapping[str, str] | Callable[[Session], str | None] = DEFAULT_SERVICE) -> None:
        """Say how.

        Args:
            by: one name for all sessions; or names by listener, as the edge's `listen` has them, where other
                listeners' sessions are refused; or a function of the session that answers from memory, and None for
                nobody's.

        Raises:
            ConfigurationError: `by` is none of these, or names a listener that cannot be.
        """
        if isinstance(by, str):
            self._text = f"Identify({by!r})"
            self._name_of: Callable[[Session], str | None] = lambda _: by
        elif isinstance(by, Mapping):
            by_listener = {str(parse_address(address, listening=True)): name for address, name in by.items()}
            self._text = f"Identify({by_listener!r})"
            self._name_of = lambda session: by_listener.get(session.listener)
        elif callable(by):
            self._text = f"Identify({getattr(by, '__name__', repr(by))})"
            if by is AS_NAMED:
                self._text = "Identify: put here by the edge, behind the stage that names the service"
            self._name_of = by
        else:
            raise ConfigurationError(f"Identify({by!r}) must be a name, names by listener, or a function of a session")

    def __repr__(self) -> str:
        return self._text

    def bind(self, context: EdgeContext) -> None:
        """Belong to the edge that begins to serve."""
        self._services = context.services

    def decide(self, session: Session) -> Verdict:
        """Name the service, or refuse."""
        name = self._name_of(session)
        if name is None:
            return UNKNOWN_SERVICE
        if self._services.find(name) is None:
            return self._services.refusal(name)
        session.service = name
        return CONTINUE


def identified(stages: Sequence[object]) -> list[object]:
    """Have the control plane asked about every service that a stage names."""
    naming = [number for number, each in enumerate(stages) if "service" in getattr(each, "provides", ())]
    if not naming:
        return [Identify(), *stages]
    identified = list(stages)
    for number in reversed(naming):
        if not isinstance(stages[number], Identify):
            identified.insert(number + 1, Identify(AS_NAMED))
    return identified
