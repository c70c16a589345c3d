"""Behind a load balancer that names each client with the PROXY protocol, such as HAProxy with `send-proxy-v2`."""

import trioedge as te

edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[
        te.ProxyProtocol(trusted=["127.0.0.1"]),
        te.SourceMatch(reject=["192.0.2.0/24"]),
        te.SessionGate(rate=20, per="source"),
        te.ConcurrencyLimit(2, per="source"),
    ],
    endpoint=te.Forward("tcp://127.0.0.1:6379"),
)

if __name__ == "__main__":
    te.run(edge)
