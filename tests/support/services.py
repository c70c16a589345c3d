"""The services and sessions of a run of an edge, without the edge."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from tests.support.policies import FIELDS
from trioedge.addresses.address import normalise_source
from trioedge.addresses.source_prefix import SourcePrefix
from trioedge.services.apply import SnapshotApplier
from trioedge.services.applying.effects import Recheck
from trioedge.services.linking.edge_link import EdgeLink
from trioedge.services.policy import Policy, Settings
from trioedge.services.registry import Registry
from trioedge.services.service import Service
from trioedge.services.services import Services, diff
from trioedge.services.snapshot import Change, Plan, Snapshot
from trioedge.services.stage_keys import NO_KEYS, StageKeys
from trioedge.services.terms.terms import Terms
from trioedge.session.meter import Total
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Reason
from trioedge.stages.source_match import SourceMatch
from trioedge.telemetry.log import EdgeLog
from trioedge.testing.context import StillClock


class Home:
    """The edge of a session: a clock that is set by hand, and services."""

    def __init__(self, services: Services) -> None:
        self.clock = StillClock()
        self.find = services.find
        self.source_prefix = SourcePrefix()


class Tenants:
    """Services and their sessions.

    Attributes:
        up: the bytes of all services to their upstreams.
        down: the bytes of all services to their clients.
    """

    def __init__(self, *, governed: bool = True, log: EdgeLog | None = None, terms: Terms | None = None) -> None:
        self.up, self.down = Total(), Total()
        self.services = Services(self.up, self.down, governed=governed, log=log, terms=terms)
        self.registry = Registry(self.services)
        self.home = Home(self.services)
        self.ids = count(1)

    def changes(self, snapshot: Snapshot) -> list[Change]:
        """Return what `snapshot` would change."""
        return [change for change in diff(self.services, snapshot) if change is not None]

    def apply(self, snapshot: Snapshot) -> list[Change]:
        """Apply a snapshot without a check, and without any effect on live sessions."""
        changes = self.changes(snapshot)
        for change in changes:
            for _ in self.services.watchers.notify(self.services.apply(change, None), change):
                pass
        return changes

    def put(self, name: str, policy: Policy = Policy()) -> Service:  # noqa: B008 - frozen
        """Add or change a service."""
        self.apply(Snapshot({name: Settings(policy)}, full=False))
        service = self.services.get(name)
        assert service is not None
        return service

    def remove(self, name: str) -> None:
        """Remove a service; its sessions live on."""
        self.apply(Snapshot({}, frozenset({name}), full=False))

    def session(self, service: str | Service | None = None, source: str = "192.0.2.1") -> Session:
        """Make a session that is not registered; one without a service has the unnamed one."""
        text, packed = normalise_source(source)
        listener = "tcp://127.0.0.1:6380"
        session = Session(next(self.ids), listener, text, packed, 50_000, 0.0, self.services.unnamed, self.home)
        if service is not None:
            session.service = service
        return session

    def come(self, service: str | Service | None = None, source: str = "192.0.2.1") -> Session:
        """Make a session and register it; its service must be there and enabled."""
        session = self.session(service, source)
        assert session.refusal is None
        self.registry.add(session)
        return session


class FakeCarrier:
    """The carrier of a session: it moves no byte, and ends its session when it is cut, or slowly, by :meth:`end`."""

    def __init__(self, registry: Registry, session: Session, *, slow: bool) -> None:
        self.registry, self.session, self.slow = registry, session, slow

    def cut(self, reason: Reason) -> None:
        if not self.slow:
            self.end(reason)

    def end(self, reason: Reason) -> None:
        self.registry.remove(self.session)
        self.session.end(Completed(reason))


class Governed(Tenants):
    """Services under a control plane, with the link that applies snapshots.

    Attributes:
        applier: it asks `SourceMatch()` again where the fields of that are enforced.
        link: of a control plane, which applies snapshots with it.
    """

    def __init__(
        self,
        *enforced: str,
        stage_keys: StageKeys = NO_KEYS,
        rechecks: Sequence[Recheck] = (),
        terms: Terms | None = None,
    ) -> None:
        log = EdgeLog()
        super().__init__(log=log, terms=terms)
        fields = frozenset(enforced or FIELDS)
        self.applier = SnapshotApplier(
            self.services, self.registry, log, enforced=fields, stage_keys=stage_keys
        )  # fmt: skip
        self.link = EdgeLink(self.applier, self.services, self.registry)
        match = Recheck(fields & {"accept", "reject"}, SourceMatch().decide, 0)
        self.applier.rechecks = (*([match] if match.fields else []), *rechecks)

    async def let(self, name: str = "a", **policy: Any) -> Plan:
        """Apply a snapshot in which one service has this policy, and nothing is said of the others."""
        return await self.applier.apply(Snapshot({name: Settings(Policy(**policy))}, full=False))

    def carried(self, service: str | None = "a", source: str = "192.0.2.1", *, slow: bool = False) -> Session:
        """Make and register a session that has a carrier."""
        session = self.come(service, source)
        session.carrier = FakeCarrier(self.registry, session, slow=slow)  # type: ignore[assignment]
        return session

    def settings(self) -> dict[str, Settings]:
        """Return the settings of every service."""
        return {service.name: service.settings for service in self.services}


def cut_reasons(*sessions: Session) -> list[Reason | None]:
    """Return the reason for which each session was cut, or None."""
    return [session.cut_reason for session in sessions]
