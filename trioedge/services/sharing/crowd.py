"""How many sessions are live, against `max_sessions`: those of this process, or of all workers together."""

from collections.abc import Callable, Sized
from typing import Final

from ...session.surroundings import NoticeLog
from ...session.verdict import Reason, Reject
from ..registry import Registry

_OVERLOAD: Final = Reject(Reason.OVERLOAD, "the edge has max_sessions sessions")


class Crowd:
    """The live sessions of one run of an edge, without those whose clients are in their handshakes.

    Attributes:
        maximum: of them.
    """

    __slots__ = ("_live", "_log", "_tell_live", "_waiting", "maximum")

    def __init__(
        self, live: Registry, waiting: Sized, log: NoticeLog, maximum: int, tell_live: Callable[[int], int] | None
    ) -> None:
        """Count from now on.

        Args:
            live: the registered sessions.
            waiting: the clients that are in their handshakes.
            log: says that there are too many.
            maximum: the most live sessions.
            tell_live: takes the number of this worker and gives that of all, which `maximum` bounds then; None where it
                bounds this process's own.
        """
        self._live, self._waiting, self._log = live, waiting, log
        self.maximum, self._tell_live = maximum, tell_live

    def refusal(self, more: int) -> Reject | None:
        """Refuse a session if there are too many.

        Args:
            more: 1 for a session that is not registered yet, 0 for one that is.
        """
        count = self.count()
        if count + more <= self.maximum:
            return None
        self._log.notice("shedding: too many sessions", live=count)
        return _OVERLOAD

    @property
    def shared(self) -> bool:
        """Whether it is that of all workers."""
        return self._tell_live is not None

    def count(self) -> int:
        """Count them, those of the other workers included if it is shared."""
        count = self._live.count - len(self._waiting)
        return count if self._tell_live is None else self._tell_live(count)

    def telling(self, register: Callable[..., object]) -> Callable[..., object]:
        """Give the same function of a session, which tells the other workers afterwards; itself in a process alone."""
        tell_live, live, waiting = self._tell_live, self._live, self._waiting
        if tell_live is None:
            return register

        def register_and_tell(*arguments: object) -> None:
            register(*arguments)
            tell_live(live.count - len(waiting))

        return register_and_tell
