"""Decide about a session outside of its task: whether its service may have it, and by the decisions of a chain."""

from ..errors import quote_fault
from ..services.service import Service
from ..session.session import TOO_MANY_SESSIONS, Session
from ..session.stage import DecisionFunction
from ..session.verdict import CONTINUE, Reason, Reject
from ..telemetry.log import STOPS, EdgeLog


def refusal_by(decide: DecisionFunction, session: Session, log: EdgeLog) -> Reject | None:
    """Ask decisions; an exception of one is logged, and is a refusal.

    Returns:
        The refusal of a session that does not go on, because it is refused, was cut or has ended; else None.
    """
    try:
        verdict = decide(session)
    except STOPS:
        raise
    except BaseException as fault:
        log.fault("decision failed", fault, session=session.id, source=session.source)
        return Reject(Reason.FAULT, quote_fault(fault))
    if session.cut_reason is not None:
        return Reject(session.cut_reason, "cut by a decision")
    if session.outcome is not None:
        return Reject(session.outcome.reason, "ended by a decision")
    return None if verdict is CONTINUE else verdict


def refusal_at_listener(session: Session, service: Service) -> Reject | None:
    """Bind a session to the service whose listener it came by, with which it was made.

    Returns:
        The refusal of a session that the service may not have now; else None.
    """
    session.come_by_listener()
    if service.refusal is None and service.is_full():
        return TOO_MANY_SESSIONS
    return service.refusal
