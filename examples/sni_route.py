"""TLS for several hosts on one port, still encrypted: the server name that a client asks for chooses the upstream."""

import trioedge as te

edge = te.Edge(
    listen="tcp://127.0.0.1:8443",
    stages=[
        te.SessionGate(rate=50, burst=100, per="source"),
        te.SniRoute(
            {
                "shop.localhost": "tcp://127.0.0.1:9443",
                "*.blog.localhost": "tcp://127.0.0.1:9444",
            },
        ),
    ],
    endpoint=te.Forward(allow=["loopback"]),
)

if __name__ == "__main__":
    te.run(edge)
