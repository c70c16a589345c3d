"""A handshake of your own: the client's first line is a token, which names its service."""

import trioedge as te

TOKENS = {b"open-sesame": "shop", b"abracadabra": "bank"}


@te.handshake(provides=("service",), seconds=3, max_bytes=64)
def token(session: te.Session) -> te.Steps:
    """Read a line, and look it up. The rest of the client's bytes goes to the upstream."""
    line = yield te.ReadUntil(b"\n")
    service = TOKENS.get(line.strip())
    if service is None:
        yield te.Send(b"no\r\n")
        return te.Reject(te.Reason.CREDENTIALS, "unknown token")
    session.service = service
    return te.CONTINUE


edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[te.SessionGate(rate=200, burst=32, per="source"), token, te.ConcurrencyLimit(100, per="service")],
    endpoint=te.Forward("tcp://127.0.0.1:6379"),
)

if __name__ == "__main__":
    te.run(edge)
