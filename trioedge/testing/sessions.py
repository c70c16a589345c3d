"""Sessions for the tests of decisions."""

import itertools

from ..addresses.address import normalise_source
from ..session.session import DEFAULT_SERVICE, Session

_ids = itertools.count(1)


def make_session(
    source: str = "192.0.2.1",
    *,
    now: float = 0.0,
    service: str = DEFAULT_SERVICE,
    listener: str = "tcp://127.0.0.1:6380",
    port: int = 50_000,
) -> Session:
    """Make a session as an edge makes it at accept, with nobody behind it.

    Args:
        source: the client's address, in any spelling; ``unix`` for a local socket.
        now: seconds of the edge's clock at which it was accepted.
        service: whose session it is.
        listener: the address it was accepted on.
        port: the client's port.

    Raises:
        ConfigurationError: `source` is not an address.
    """
    text, packed = normalise_source(source)
    return Session(next(_ids), listener, text, packed, port, now, service)
