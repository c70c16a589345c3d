"""Two tenants on one edge, told apart by where their clients connect; their limits stand in a file.

`trioedge run examples/multi_tenant.py`, then change examples/services.toml and save it.
"""

from pathlib import Path

import trioedge as te

edge = te.Edge(
    listen=["tcp://127.0.0.1:6380", "tcp://127.0.0.1:6381"],
    stages=[
        te.Identify({"tcp://127.0.0.1:6380": "shop", "tcp://127.0.0.1:6381": "blog"}),
        te.SessionGate(),
        te.SourceMatch(),
        te.ConcurrencyLimit(per="service"),
        te.DeviceLimit(),
        te.Pacing(),
        te.IdleTimeout(300),
    ],
    endpoint=te.Forward(allow=["loopback"]),
    control=te.FileControl(Path(__file__).with_name("services.toml")),
)

if __name__ == "__main__":
    te.run(edge)
