"""TLS for PostgreSQL, whose clients ask for it in clear first; the server on port 5432 gets plain bytes."""

import os
import ssl
import struct

import trioedge as te

SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # its length and its code: PostgreSQL's protocol, SSLRequest


def certified(chain: str, key: str) -> ssl.SSLContext:
    """Make a server's context of two files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


CONTEXT = certified(os.environ.get("TLS_CHAIN", "chain.pem"), os.environ.get("TLS_KEY", "key.pem"))


@te.handshake(seconds=10, max_bytes=64)
def postgres_tls(session: te.Session) -> te.Steps:
    """Answer the request for TLS, and begin it; refuse clients that do not ask."""
    if (yield te.Read(len(SSL_REQUEST))) != SSL_REQUEST:
        return te.Reject(te.Reason.POLICY, "a client without TLS")
    yield te.Send(b"S")
    session.state[te.TlsInfo] = yield te.StartTls(CONTEXT)
    return te.CONTINUE


edge = te.Edge(
    listen="tcp://127.0.0.1:6432",
    stages=[te.SessionGate(rate=50, burst=100, per="source"), postgres_tls],
    endpoint=te.Forward("tcp://127.0.0.1:5432"),
)

if __name__ == "__main__":
    te.run(edge)
