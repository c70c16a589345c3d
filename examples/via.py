"""Redis through an upstream proxy: sessions leave this machine by SOCKS or by HTTP CONNECT."""

import os

import trioedge as te

PROXY = os.environ.get("PROXY", "socks5://127.0.0.1:1080")
"""A URL with a login, ``socks5://user:password@host:port``, is a secret: it comes from the environment."""

edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[te.SessionGate(rate=200, burst=32)],
    endpoint=te.Forward("tcp://127.0.0.1:6379", outbound=te.Via(PROXY)),
)

if __name__ == "__main__":
    te.run(edge)
