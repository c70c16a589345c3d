"""A SOCKS server whose users stand in a file, each with a password and limits of its own.

`python examples/socks_edge.py`, then `curl --proxy socks5h://alice:wonderland@127.0.0.1:1080 https://example.com/`.
Change examples/socks_users.toml while it runs, and save it.
"""

from pathlib import Path

import trioedge as te

edge = te.Edge(
    listen="tcp://127.0.0.1:1080",
    stages=[
        te.SessionGate(rate=20, burst=40, per="source"),
        te.Socks(auth="services"),
        te.DeviceLimit(),
        te.Pacing(),
        te.IdleTimeout(300),
    ],
    endpoint=te.Forward(retries=0),
    control=te.FileControl(Path(__file__).with_name("socks_users.toml")),
)

if __name__ == "__main__":
    te.run(edge)
