"""An edge whose sessions, one in ten, are spans in a collector of OpenTelemetry on this machine."""

import trioedge as te

from trioedge_otel import Otel

edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[te.SessionGate(rate=200, burst=32)],
    endpoint=te.Forward("tcp://127.0.0.1:6379"),
    observers=[Otel(sample=0.1, endpoint="http://127.0.0.1:4318")],
)

if __name__ == "__main__":
    te.run(edge)
