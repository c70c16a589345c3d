"""The idle timeout of sessions."""

from ..arguments import Fixed, check_number
from ..session.fields import HALF_CLOSED_SECONDS
from ..session.session import Session
from ..session.verdict import CONTINUE, Verdict


class IdleTimeout(Fixed):
    """Cut a session with reason ``idle`` when no byte has moved in either direction for `seconds`.

    A decision, not a middleware: it writes two numbers into the session, and the relay applies them without a task or
    a timer for each session. Without this stage the limits are 600 and 60 seconds. A slow reader is not idle: the time
    begins anew while bytes that the edge has sent are still being delivered.

    It needs an endpoint that relays with the edge's relay, as `Forward` and ``context.relay`` do.
    """

    __slots__ = ("_half_closed_seconds", "_seconds")

    needs_relay = True

    def __init__(self, seconds: float, *, half_closed_seconds: float | None = None) -> None:
        """Set the limits.

        Args:
            seconds: without a byte in either direction, above 0; infinity for no limit. Noticed up to 0.05 s late.
            half_closed_seconds: the same once one side has finished sending. None for 60, or `seconds` if that is less.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        check_number("IdleTimeout", "seconds", seconds, above=0)
        if half_closed_seconds is None:
            half_closed_seconds = min(HALF_CLOSED_SECONDS, seconds)
        check_number("IdleTimeout", "half_closed_seconds", half_closed_seconds, above=0)
        self._seconds = seconds
        self._half_closed_seconds = half_closed_seconds

    def __repr__(self) -> str:
        return f"IdleTimeout(seconds={self._seconds:g}, half_closed_seconds={self._half_closed_seconds:g})"

    def decide(self, session: Session) -> Verdict:
        """Write the limits into the session. Always CONTINUE."""
        session.idle_seconds = self._seconds
        session.half_closed_seconds = self._half_closed_seconds
        return CONTINUE
