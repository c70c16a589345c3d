"""Sessions for the tests of stages."""

import itertools

from ..addresses.address import normalise_source
from ..addresses.source_prefix import SourcePrefix
from ..services.policy import Policy, Settings
from ..services.services import DEFAULT_SERVICE, Services
from ..session.meter import Total
from ..session.session import Session
from ..session.verdict import Reject
from .context import StillClock

_ids = itertools.count(1)


class _Home:
    """An edge for a session of its own."""

    def __init__(self, clock: StillClock, services: Services) -> None:
        self.clock = clock
        self.find = services.find
        self.source_prefix = SourcePrefix()


def make_session(
    source: str = "192.0.2.1",
    *,
    now: float = 0.0,
    service: str = DEFAULT_SERVICE,
    policy: Policy | None = None,
    listener: str = "tcp://127.0.0.1:6380",
    port: int = 50_000,
) -> Session:
    """Make a session as an edge makes it at accept, without a client.

    Args:
        source: the client's address, in any spelling; ``unix`` for a local socket.
        now: seconds of the edge's clock at which it was accepted; ``session.now`` gives it.
        service: the name of its service, which it has to itself.
        policy: that service's policy; the default one if None.
        listener: the address it was accepted on.
        port: the client's port.

    Raises:
        ConfigurationError: `source` is not an address.
        ValueError: `service` cannot be a name.
    """
    text, packed = normalise_source(source)
    services = Services(Total(), Total(), governed=False)
    tenant = services.find(service)
    if isinstance(tenant, Reject):
        raise ValueError(f"make_session(service={service!r}): {tenant.detail}")
    if policy is not None:
        tenant.swap(Settings(policy), None)
    return Session(next(_ids), listener, text, packed, port, now, tenant, _Home(StillClock(now), services))
