"""What an edge gives the endpoint that it binds: where to run, how to resolve, whom to tell."""

from typing import Protocol, runtime_checkable

import attrs

from .connector import Connecting
from .observe import Observer
from .reactor import Reactor
from .relay import Meter
from .resolver import Resolver


class Outbound(Protocol):
    """A way out: how upstream connections are made."""

    def open(self, ground: "Ground", /) -> Connecting:
        """Make this outbound's connections in `ground`."""


@attrs.frozen(eq=False)
class Ground:
    """One serving edge, as its endpoint sees it.

    Attributes:
        reactor: carries plain sockets.
        resolver: knows addresses of names.
        observer: told of what people should know.
        outbound: the way out of an endpoint that names none.
        meters: bytes up and down, over all sessions.
    """

    reactor: Reactor
    resolver: Resolver
    observer: Observer
    outbound: Outbound
    meters: tuple[Meter, Meter]


@runtime_checkable
class Bound(Protocol):
    """A stage or endpoint that needs the ground; told before its worker runs and before any session."""

    def bind(self, ground: Ground, /) -> None:
        """Belong to the edge that begins to serve."""
