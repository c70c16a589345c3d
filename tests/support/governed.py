"""The surroundings of a stage: services whose policies a test changes, and sessions of theirs on one clock."""

import itertools
from types import SimpleNamespace
from typing import Any, cast

from trioedge.addresses.address import normalise_source
from trioedge.addresses.rules import SourceRules
from trioedge.addresses.source_prefix import SourcePrefix
from trioedge.loop.reactor import Reactor
from trioedge.services.context import EdgeContext
from trioedge.services.policy import Policy, Settings
from trioedge.services.registry import Registry
from trioedge.services.service import Service
from trioedge.services.services import Services, diff
from trioedge.services.sharing.worker_share import WorkerShare
from trioedge.services.snapshot import Snapshot
from trioedge.session.meter import Total
from trioedge.session.session import Session
from trioedge.telemetry.log import EdgeLog
from trioedge.testing.context import StillClock


class Governed:
    """The services of one edge, which a test changes as snapshots would.

    Attributes:
        services: by name; without a control plane, every name is a service.
        registry: the live sessions.
        clock: of the edge and of its sessions; it stands still until the test sets it.
        context: to open stages with.
    """

    def __init__(self, *, governed: bool = True, clock: Any | None = None, limits: Any = None) -> None:
        self.clock = clock or StillClock()
        self.services = Services(Total(), Total(), governed=governed)
        self.registry = Registry(self.services)
        self._ids = itertools.count(1)
        no_edge = cast(Any, None)
        self.context = EdgeContext(
            log=EdgeLog(),
            control=None,
            outbound=None,
            relays=True,
            reactor=cast(Reactor, self.clock),
            resolver=no_edge,
            services=self.services,
            sessions=self.registry,
            edge=no_edge,
            share=None if limits is None else WorkerShare(2, limits),
        )

    def put(self, name: str = "shop", **policy: Any) -> Service:
        """Give a service this policy; one that is not there is made."""
        self._apply(Snapshot({name: Settings(Policy(**policy))}, full=False))
        service = self.services.get(name)
        assert service is not None
        return service

    def remove(self, name: str = "shop") -> None:
        """Remove a service; its sessions stay, because the test ends them."""
        self._apply(Snapshot({}, frozenset({name}), full=False))

    def session(
        self, service: str | None = None, *, source: str = "192.0.2.1", listener: str = "tcp://127.0.0.1:6380"
    ) -> Session:
        """Make a session as the edge makes it at accept, before a stage has seen it.

        Args:
            service: the service that it is of already, which must be there; by default the unnamed one.
            source: the client's address.
            listener: the address that it was accepted on.
        """
        found = self.services.unnamed if service is None else self.services.find(service)
        assert isinstance(found, Service), f"{service!r}: {found}"
        home = SimpleNamespace(clock=self.clock, find=self.services.find, source_prefix=SourcePrefix())
        text, packed = normalise_source(source)
        now = self.clock.refresh()
        return Session(next(self._ids), listener, text, packed, 50_000, now, found, cast(Any, home))

    def _apply(self, snapshot: Snapshot) -> None:
        for change in diff(self.services, snapshot):
            if change is not None:
                service = self.services.apply(change, _rules(change.after))
                for _ in self.services.watchers.notify(service, change):
                    pass


def _rules(settings: Settings | None) -> SourceRules | None:
    if settings is None or not (settings.policy.accept or settings.policy.reject):
        return None
    return SourceRules(settings.policy.accept, settings.policy.reject)
