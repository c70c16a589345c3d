"""Two customers, told apart by their address, each with a quota of bytes and an expiry, which stand in a file.

`trioedge run examples/quotas.py`, then change examples/quotas.toml and save it.
"""

from pathlib import Path

import trioedge as te

CUSTOMERS = {"127.0.0.1": "alice", "127.0.0.2": "bob"}


def customer(session: te.Session) -> str | None:
    return CUSTOMERS.get(session.source)


edge = te.Edge(
    listen="tcp://127.0.0.1:8080",
    stages=[te.Identify(customer), te.IdleTimeout(300)],
    endpoint=te.Forward(allow=["loopback"]),
    control=te.FileControl(Path(__file__).with_name("quotas.toml")),
)

if __name__ == "__main__":
    te.run(edge)
