"""Redis behind an edge: who may come, how often, and how many at a time."""

import trioedge as te

edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[
        te.SourceMatch(accept=["127.0.0.0/8"]),
        te.SessionGate(rate=200, burst=32),
        te.ConcurrencyLimit(100, per="source"),
    ],
    endpoint=te.Forward("tcp://127.0.0.1:6379", preconnect=4),
)
if __name__ == "__main__":
    te.run(edge)
