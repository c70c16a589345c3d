"""The same tenants, from a control plane over HTTP, which also says which devices may come and adds up the traffic.

`python -m examples.control_plane` is one to try it with; see examples/control_plane/README.md.
"""

import os

import trioedge as te


def tenant(session: te.Session) -> str | None:
    """Name the tenant by the address that its clients come from, a stand-in for a server name or a login."""
    return {"127.0.0.2": "shop", "127.0.0.3": "blog"}.get(session.source)


edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[
        te.Identify(tenant),
        te.SessionGate(),
        te.SourceMatch(),
        te.ConcurrencyLimit(per="service"),
        te.DeviceLimit(grace=te.Grace(seconds=3, bytes=64_000)),
        te.Pacing(),
        te.IdleTimeout(300),
    ],
    endpoint=te.Forward(allow=["loopback"]),
    control=te.HttpControl(
        os.environ.get("CONTROL_URL", "http://127.0.0.1:9000"), token=os.environ.get("CONTROL_TOKEN")
    ),
    access_log=te.AccessLog("-", format="text", only="refused"),  # to stdout: who was refused, and by which stage
)

if __name__ == "__main__":
    te.run(edge)
