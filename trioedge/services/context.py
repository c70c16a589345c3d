"""What an edge gives the stages and the endpoint that it binds: where to run, how to resolve, whom to tell."""

from typing import Protocol, runtime_checkable

import attrs

from ..loop.reactor import Reactor
from ..telemetry.observer import Observer
from ..upstreams.connector import Connecting, Permit
from ..upstreams.resolver import Resolver
from .control_plane import ControlPlane
from .registry import Registry
from .services import Services


class Outbound(Protocol):
    """A way out: how upstream connections are made."""

    def open(self, context: "EdgeContext", permit: Permit | None, /) -> Connecting:
        """Make this outbound's connections in `ground`, only to addresses that `permit` lets through."""


@attrs.frozen(eq=False)
class EdgeContext:
    """One serving edge, as its stages and its endpoint see it.

    Attributes:
        reactor: carries plain sockets.
        resolver: knows addresses of names.
        observer: told of what people should know.
        outbound: the way out of an endpoint that names none.
        services: every service and its policy.
        live: every session.
        control: the control plane, if there is one.
    """

    reactor: Reactor
    resolver: Resolver
    observer: Observer
    outbound: Outbound
    services: Services
    live: Registry
    control: ControlPlane | None = None


@runtime_checkable
class Bound(Protocol):
    """A stage or endpoint that needs the ground; told before its worker runs and before any session."""

    def bind(self, context: EdgeContext, /) -> None:
        """Belong to the edge that begins to serve."""
