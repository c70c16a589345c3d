"""The demo's edge: seven stages, written as a user would write them."""

from typing import Final

import trio

import trioedge as te

POLITE: Final = "127.0.0.2"
BURSTING: Final = "127.0.0.3"
STAYING: Final = "127.0.0.4"
UNWANTED: Final = "127.0.0.66"

SERVICES: Final = {POLITE: "web", BURSTING: "crawler", STAYING: "chat"}


@te.decision(names=("service",))
def name_service(session: te.Session) -> te.Verdict:
    """Tell services apart by who comes; a real edge does so by server name or token."""
    session.service = SERVICES.get(session.source, "guest")
    return te.CONTINUE


@te.middleware
async def at_most_a_minute(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """End sessions that go on for too long."""
    with trio.move_on_after(60):
        return await call_next(session)
    return te.Completed(te.Reason.DEADLINE, "a minute")


def build(listen: str, upstream: str) -> te.Edge:
    """Put the edge together: six decisions, which run before a session has a task, and a middleware."""
    return te.Edge(
        listen,
        stages=[
            name_service,
            te.SessionGate(rate=50, burst=50, per="service"),
            te.SessionGate(rate=2, burst=8, per="source"),
            te.SourceMatch(accept=["127.0.0.0/8"], reject=[UNWANTED]),
            te.ConcurrencyLimit(6, per="source"),
            te.IdleTimeout(30),
            at_most_a_minute,
        ],
        endpoint=te.Forward(upstream, preconnect=4),
    )
