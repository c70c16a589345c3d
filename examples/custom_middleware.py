"""A middleware of your own: no session lives for longer than an hour, however busy it is."""

import trio

import trioedge as te


@te.middleware
async def at_most_an_hour(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """Let the rest of the chain have its hour; when time is up, cancel it and say why."""
    with trio.move_on_after(3600):
        return await call_next(session)
    return te.Completed(te.Reason.DEADLINE, "an hour")


edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[te.SessionGate(rate=200, burst=32), at_most_an_hour],
    endpoint=te.Forward("tcp://127.0.0.1:6379"),
)

if __name__ == "__main__":
    te.run(edge)
