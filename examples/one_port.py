"""HTTPS, HTTP and SSH on one port: the first bytes of a client choose where it goes."""

import trioedge as te

edge = te.Edge(
    listen="tcp://127.0.0.1:8443",
    stages=[
        te.SessionGate(rate=50, burst=100, per="source"),
        te.Detect(
            {
                "tls": te.SniRoute({"shop.localhost": "tcp://127.0.0.1:9443"}, default="tcp://127.0.0.1:9444"),
                "http": "tcp://127.0.0.1:9080",
                b"SSH-": "tcp://127.0.0.1:22",
            },
            default="tcp://127.0.0.1:22",  # a client that waits for the greeting of its server
            seconds=0.5,
        ),
    ],
    endpoint=te.Forward(allow=["loopback"]),
)

if __name__ == "__main__":
    te.run(edge)
