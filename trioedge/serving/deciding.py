"""Ask the decisions of a chain about a session, outside of its task."""

from ..errors import quote_fault
from ..session.session import Session
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
