"""Connect from this machine with TLS: the upstream's certificate must be trusted, and have the name that it goes by."""

import ssl

from ...loop.reactor import Reactor
from ...services.context import Resolving
from ..attempt import Attempt, ConnectCallback
from ..connector import Connector, Target
from .tls_attempt import TlsAttempt


class TlsConnector(Connector):
    """A connector whose sockets speak TLS. They are idle connections and relayed as plain ones are."""

    def __init__(
        self, reactor: Reactor, resolver: Resolving, context: ssl.SSLContext, server_name: str | None = None
    ) -> None:
        """Connect nothing yet.

        Args:
            reactor: watches the sockets.
            resolver: resolves the names of destinations.
            context: a client's.
            server_name: the name that certificates must have; None for the host of the destination.
        """
        super().__init__(reactor, resolver)
        self._context = context
        self._server_name = server_name

    def attempt(self, target: Target, callback: ConnectCallback) -> Attempt:
        return TlsAttempt(
            self._reactor, target.address, self._reactor.now + target.seconds, callback, target.retries, self._reach,
            self._context, self._server_name or target.address.host or None, target.meter,
        )  # fmt: skip
