"""The outbound that connects from this machine."""

import attrs

from ..services.context import EdgeContext
from .connector import Connector


@attrs.frozen
class Direct:
    """Connect from this machine, with its own routes and the edge's resolver.

    Names are resolved in the background and answered from memory. Of several addresses the first one that answers is
    used; each is tried 250 ms after the one before (RFC 8305).
    """

    def open(self, context: EdgeContext) -> Connector:
        """Make the live outbound of one run of an edge."""
        return Connector(context.reactor, context.resolver)
