"""A quota for the service of one session."""

from trioedge.services.policy import Policy, Settings
from trioedge.services.terms.terms import Terms
from trioedge.session.session import Session


def limit(session: Session, quota_bytes: int) -> None:
    """Give a session's service a quota, of which nothing is used yet; the session is cut by what moves its bytes."""
    session.service.swap(Settings(Policy(quota_bytes=quota_bytes)), None)
    Terms().apply(session.service)
