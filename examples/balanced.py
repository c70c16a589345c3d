"""Three Redis servers behind one address: the least busy one answers, and the last one stands by."""

import trioedge as te


@te.handshake(seconds=1, max_bytes=128)
def ping(session: te.Session) -> te.Steps:
    """Ask a member whether it answers."""
    yield te.Send(b"PING\r\n")
    if (yield te.ReadUntil(b"\r\n")) == b"+PONG\r\n":
        return te.CONTINUE
    return te.Reject(te.Reason.UPSTREAM_REFUSED, f"{session.destination} answered no PONG")


edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[te.SessionGate(rate=200, burst=32)],
    endpoint=te.Forward(
        te.Balanced(
            [
                te.Member("tcp://127.0.0.1:6379", weight=2),
                "tcp://127.0.0.2:6379",
                te.Member("tcp://127.0.0.3:6379", backup=True),
            ],
            policy="least_sessions",
            check=ping,
        )
    ),
)

if __name__ == "__main__":
    te.run(edge)
