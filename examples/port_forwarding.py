"""A port for each customer, as relays sell them: a file says who has which, and where it leads.

`python examples/port_forwarding.py`, then `curl http://127.0.0.1:20001/`. Change examples/port_forwarding.toml while it
runs, and save it: its ports open and close, and every other session goes on.
"""

from pathlib import Path

import trioedge as te

edge = te.Edge(
    listen=[],
    stages=[
        te.SessionGate(),
        te.SourceMatch(),
        te.DeviceLimit(),
        te.Pacing(),
        te.IdleTimeout(300),
    ],
    endpoint=te.Forward(allow=["loopback"]),
    control=te.FileControl(Path(__file__).with_name("port_forwarding.toml")),
    open_ports="tcp://127.0.0.1:20000-20999",
)

if __name__ == "__main__":
    te.run(edge)
