"""Middlewares that give the endpoint bytes that were read ahead, or another stream."""

import trio

import trioedge as te


@te.middleware
async def read_ahead(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """Read the client's first bytes and give them back, as a stage that looks for a name in them does."""
    session.stream.unread(await session.stream.receive_some(4))
    return await call_next(session)


@te.middleware
async def wrap(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """Put another stream around the client's, as a TLS middleware does."""
    session.stream = trio.StapledStream(session.stream, session.stream)
    return await call_next(session)
