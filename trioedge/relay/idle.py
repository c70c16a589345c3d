"""The idle limit of a session, for both relays."""

from ..session.session import Session


def idle_limit(session: Session, *, half_closed: bool) -> float:
    """Give the seconds without a byte after which a session is cut.

    Args:
        session: has the two limits.
        half_closed: whether one side has finished sending, so that the shorter limit applies.
    """
    if half_closed:
        return min(session.idle_seconds, session.half_closed_seconds)
    return session.idle_seconds
