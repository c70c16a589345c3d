"""HTTPS in front of a web server on port 9000: TLS ends here, and the server gets plain bytes."""

import os

import trioedge as te


@te.decision
def http_only(session: te.Session) -> te.Verdict:
    """Refuse clients that have agreed on another protocol than HTTP/1.1, or on none."""
    info = session.state[te.TlsInfo]
    return te.CONTINUE if info.alpn == "http/1.1" else te.Reject(te.Reason.POLICY, f"speaks {info.alpn}")


edge = te.Edge(
    listen="tcp://127.0.0.1:8443",
    stages=[
        te.SessionGate(rate=50, burst=100, per="source"),
        te.Tls(
            [(os.environ.get("TLS_CHAIN", "chain.pem"), os.environ.get("TLS_KEY", "key.pem"))],
            alpn=["http/1.1"],
        ),
        http_only,
    ],
    endpoint=te.Forward("tcp://127.0.0.1:9000"),
)

if __name__ == "__main__":
    te.run(edge)
