"""The script of stages that look at a client's TLS hello and leave it for the upstream. It is no stage itself.

The hello is peeked at, as many bytes as it has, and kept in ``session.state[ClientHello]``. A client that is refused is
told so by an alert of TLS, in clear, as a server tells it that has no certificate for its name.
"""

from collections.abc import Generator
from typing import Any, Final

from ...session.handshake import Command, Peek, Send
from ...session.session import Session
from ...session.verdict import Reason, Reject
from ...wire.client_hello import UNRECOGNIZED_NAME, ClientHello, HelloError, HelloReader, fatal_alert

_HANDSHAKE_FAILURE: Final = 40
_MISSING_EXTENSION: Final = 109


def peek_hello(session: Session) -> Generator[Command, Any, ClientHello | Reject]:
    """Wait for the whole hello; give it, or the refusal of a client that sends none, which has its alert then."""
    reader = HelloReader()
    held = yield Peek(1)
    try:
        while isinstance(hello := reader.read(held), int):
            held = yield Peek(hello)
    except HelloError as error:
        if error.alert is not None:
            yield Send(fatal_alert(error.alert))
        return Reject(Reason.PROTOCOL, f"TLS hello: {error}")
    session.state[ClientHello] = hello
    return hello


def refuse_hello(hello: ClientHello, refusal: Reject) -> Generator[Command, Any, Reject]:
    """Tell a client that it is refused, and give the refusal.

    Args:
        hello: which was refused for its name, or because it has none.
        refusal: with reason ``service`` if it is the name's.
    """
    alert = _HANDSHAKE_FAILURE
    if refusal.reason is Reason.SERVICE:
        alert = _MISSING_EXTENSION if hello.server_name is None else UNRECOGNIZED_NAME
    yield Send(fatal_alert(alert))
    return refusal
