"""Straight from this machine to the destination."""

import attrs

from ..services.context import EdgeContext
from .connector import Connector


@attrs.frozen
class Direct:
    """Connect from this machine, with its own routes and its own resolver.

    Names are resolved in the background and answered from memory; of several addresses the first to answer wins
    (RFC 8305).
    """

    def open(self, context: EdgeContext) -> Connector:
        """Make the connections of one run of an edge."""
        return Connector(context.reactor, context.resolver)
