"""An edge with a gate for each source. A source that it refused 20 times in a minute has no packet let in for ten."""

import trioedge as te

from trioedge_nft import NftBan

edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[te.SessionGate(rate=5, burst=10, per="source")],
    endpoint=te.Forward("tcp://127.0.0.1:6379"),
    observers=[NftBan(refusals=20, seconds=60, timeout_seconds=600, allow=["10.0.0.0/8"], create=True)],
)

if __name__ == "__main__":
    te.run(edge)
