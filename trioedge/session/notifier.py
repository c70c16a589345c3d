"""A one-shot notification: of many events only the first one is reported, until the listener asks for the next."""

from collections.abc import Callable


class Notifier:
    """Calls back at the first event after each :meth:`listen`. Every other event costs the reading of one attribute.

    The code that causes events calls :meth:`wake` if `quiet`, and else does nothing. The callback must not raise, and
    may call :meth:`listen`.

    | quiet | event | then |
    | --- | --- | --- |
    | no | listen | quiet if there is a callback |
    | yes | wake | not quiet, and the callback was called |
    | any | attach | not quiet |

    Attributes:
        quiet: the next event is to be reported. Read-only for all others.
    """

    __slots__ = ("_callback", "quiet")

    def __init__(self, callback: Callable[[], object] | None = None) -> None:
        """Start silent; `callback` as in :meth:`attach`."""
        self.quiet = False
        self._callback = callback

    def attach(self, callback: Callable[[], object] | None) -> None:
        """Report to `callback` instead, from the next :meth:`listen` on; None reports no event and breaks cycles."""
        self.quiet = False
        self._callback = callback

    def listen(self) -> None:
        """Report the next event."""
        self.quiet = self._callback is not None

    def wake(self) -> None:
        """Report an event."""
        self.quiet = False
        if self._callback is not None:
            self._callback()
