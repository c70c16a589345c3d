"""An edge as its sessions see it: services that a test names and removes, a registry and a clock."""

import itertools
from typing import Any

from trioedge.addresses.address import normalise_source
from trioedge.addresses.source_prefix import SourcePrefix
from trioedge.services.policy import Policy, Settings
from trioedge.services.registry import Registry
from trioedge.services.service import Service
from trioedge.services.services import Services
from trioedge.services.snapshot import Change
from trioedge.session.meter import Total
from trioedge.session.session import Session
from trioedge.testing.context import StillClock


class Home:
    """The home of sessions.

    Attributes:
        clock: stands until the test sets it.
        services: by name; with `governed`, only those that the test has put.
        registry: of the sessions that the test has added.
    """

    def __init__(self, *, governed: bool = True) -> None:
        self.clock = StillClock()
        self.services = Services(Total(), Total(), governed=governed)
        self.registry = Registry(self.services)
        self.find = self.services.find
        self.source_prefix = SourcePrefix()
        self._ids = itertools.count(1)

    def put(self, name: str, **policy: Any) -> Service:
        """Have a service with this policy from now on."""
        return self.services.apply(Change(name, None, Settings(Policy(**policy))), None)

    def remove(self, name: str) -> None:
        """Have a service no more, as a snapshot that does not name it."""
        service = self.services.get(name)
        assert service is not None
        self.services.apply(Change(name, service.settings, None), None)

    def session(self, source: str = "192.0.2.1", *, registered: bool = False) -> Session:
        """Make a session that no stage has seen."""
        text, packed = normalise_source(source)
        session = Session(
            next(self._ids), "tcp://127.0.0.1:6380", text, packed, 50_000, self.clock.now, self.services.unnamed, self
        )
        if registered:
            self.registry.add(session)
        return session
