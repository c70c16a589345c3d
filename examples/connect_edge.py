"""An HTTP proxy for this machine and its private network: tunnels to port 443, and to nothing else.

`python examples/connect_edge.py`, then `curl --proxy http://127.0.0.1:3128 https://example.com/`.
"""

import trioedge as te


@te.decision(requires=("destination",))
def https_only(session: te.Session) -> te.Verdict:
    """Refuse every other port; the client reads 403."""
    if session.destination is not None and session.destination.endswith(":443"):
        return te.CONTINUE
    return te.Reject(te.Reason.DESTINATION, "not port 443")


edge = te.Edge(
    listen="tcp://127.0.0.1:3128",
    stages=[
        te.SourceMatch(accept=["127.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16"]),
        te.SessionGate(rate=50, burst=100, per="source"),
        te.HttpConnect(),
        https_only,
        te.ConcurrencyLimit(200, per="source"),
        te.IdleTimeout(300),
    ],
    endpoint=te.Forward(retries=0),
)

if __name__ == "__main__":
    te.run(edge)
