"""Straight from this machine to the destination."""

import attrs

from ..services.context import Ground
from .connector import Connector, Permit


@attrs.frozen
class Direct:
    """Connect from this machine, with its own routes and its own resolver.

    Names are resolved in the background and answered from memory; of several addresses the first to answer wins
    (RFC 8305).
    """

    def open(self, ground: Ground, permit: Permit | None) -> Connector:
        """Make this outbound's connections in `ground`."""
        return Connector(ground.reactor, ground.resolver, permit)
