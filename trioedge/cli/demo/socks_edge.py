"""The demo's second edge: a SOCKS server with users, written as a user would write it."""

from hmac import compare_digest
from typing import Final

import trioedge as te

USER: Final = "alice"
PASSWORDS: Final = {USER: "demo"}
"""In the clear, because this is a demo; a real edge has ``Socks(auth="services")``, and a control plane with hashes."""


def login(session: te.Session, user: str, password: str) -> bool:  # noqa: ARG001 - the signature of a login
    """Tell whether a password is right."""
    known = PASSWORDS.get(user)
    return known is not None and compare_digest(known.encode(), password.encode(errors="replace"))


def build(listen: str) -> te.Edge:
    """Make the edge: its clients log in and name their destination, which must be on this machine."""
    return te.Edge(
        listen,
        stages=[te.SessionGate(rate=20, burst=40), te.Socks(auth=login)],
        endpoint=te.Forward(allow=["loopback"], retries=0),
    )
