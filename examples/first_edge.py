"""What stands on port 8080 before the web server on port 9000."""

import trioedge as te


@te.decision
def every_third(session: te.Session) -> te.Verdict:
    """Refuse every third session, to see whether clients try again."""
    if session.id % 3 == 0:
        return te.Reject(te.Reason.POLICY, "every third")
    return te.CONTINUE


edge = te.Edge(
    listen="tcp://127.0.0.1:8080",
    stages=[
        te.SourceMatch(accept=["127.0.0.0/8"], reject=["127.0.0.2"]),
        te.SessionGate(rate=1, burst=5, per="source"),
        te.ConcurrencyLimit(2, per="source"),
        every_third,
    ],
    endpoint=te.Forward("tcp://127.0.0.1:9000"),
)

if __name__ == "__main__":
    te.run(edge)
