"""The live services: one object each, the same for life, whose fields a snapshot swaps in place.

Seed, layer six: when the state above changes, only the layer that needs to move moves. A service keeps its gate, its
counts, its meters, its connections and its place in every table, whatever its policy becomes.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol, runtime_checkable

import attrs

from ..addresses.rules import SourceRules
from ..session.meter import Meter, Total
from ..session.session import Session
from ..session.verdict import Reason, Reject
from ..structures.gcra import RateSpec
from .changes import changed_fields, fate_of
from .policy import Fate, Policy, Settings

UNKNOWN_SERVICE: Final = Reject(Reason.SERVICE, "no such service")
_DISABLED: Final = Reject(Reason.SERVICE, "the service is disabled")


@attrs.define(eq=False, slots=True)
class Service:
    """One tenant, for as long as the control plane names it.

    Attributes:
        name: what sessions call it.
        incarnation: unique in the process; a service that is removed and named again has another one, and its totals
            begin at 0.
        settings: what the last snapshot said of it.
        policy: the policy among that, one look-up nearer.
        cadence: its session rate and burst, as a gate takes them; None where the policy says none.
        rules: its source rules, compiled; None where it has none.
        upstream: the live object behind ``policy.outbound``, which the endpoint keeps; None where there is none.
        up: bytes to its upstream.
        down: bytes to its clients.
        opened: sessions since it is here, those among them that began as another service's.
        live: sessions now.
    """

    name: str
    incarnation: int
    settings: Settings
    up: Meter
    down: Meter
    policy: Policy = attrs.field(init=False)
    cadence: RateSpec | None = attrs.field(init=False)
    rules: SourceRules | None = None
    upstream: Any = None
    opened: int = 0
    live: int = 0

    def __attrs_post_init__(self) -> None:
        self.swap(self.settings)

    def swap(self, settings: Settings) -> None:
        """Let other settings hold from now on."""
        self.settings = settings
        self.policy = policy = settings.policy
        self.cadence = None if policy.session_rate is None else RateSpec(policy.session_rate, policy.session_burst)

    def let_go(self) -> None:
        """It has gone, and so has its last session: its totals stand."""
        self.up.let_go()
        self.down.let_go()


@attrs.frozen(slots=True)
class Snapshot:
    """What a control plane says, of all services or of some.

    Attributes:
        services: settings by name.
        removed: services that are no more; says something only when not `full`.
        full: whether services that it does not name are no more.
        version: the control plane's own name for this state, for people and for the next request.
    """

    services: Mapping[str, Settings]
    removed: frozenset[str] = frozenset()
    full: bool = True
    version: str = ""


@attrs.frozen(slots=True)
class Change:
    """What a snapshot changes of one service.

    Attributes:
        name: which.
        before: its settings now; None for a new service.
        after: its settings to be; None for one that goes.
        fields: which fields differ; none for a service that comes or goes.
    """

    name: str
    before: Settings | None
    after: Settings | None
    fields: tuple[str, ...] = ()

    @property
    def fates(self) -> frozenset[Fate]:
        """What happens to the sessions that live."""
        if self.after is None:
            return frozenset({Fate.EVICT})
        return frozenset(fate_of(name, self.before, self.after) for name in self.fields)


class Watcher(Protocol):
    """Who keeps something live for each service: an outbound, a rate, device verdicts."""

    def changed(self, service: Service, change: Change, /) -> Iterable[None] | None:
        """`service` has come, goes or has other settings, swapped already. What takes long is given in steps."""


@runtime_checkable
class Foreseeing(Protocol):
    """A watcher that cuts sessions when settings change, or when a service goes."""

    def foresee(self, service: Service, after: Settings | None, /) -> Iterable[Session | None]:
        """Give the live sessions that it would cut if these settings held, or the service went, with None between.

        Those that are of a service that goes are not the watcher's to give.
        """


@runtime_checkable
class Settling(Protocol):
    """A watcher that tidies up once all changes of a snapshot hold."""

    def settle(self) -> Iterable[None]:
        """Do so, in steps."""


class Services:
    """Every service by name. Without a control plane every name is one and the same service, without limits."""

    __slots__ = (
        "_anyone", "_by_name", "_down", "_leaving", "_lives", "_stray", "_unnamed", "_up", "_watchers", "on_gone",
        "on_traffic",
    )  # fmt: skip

    def __init__(self, up: Total, down: Total, *, governed: bool) -> None:
        """Know no service yet.

        Args:
            up: bytes to upstreams, of the whole edge.
            down: bytes to clients.
            governed: whether a control plane says which services there are.
        """
        self._up, self._down = up, down
        self._by_name: dict[str, Service] = {}
        self._leaving: dict[str, Service] = {}
        self._unnamed: Counter[str] = Counter()
        self._lives = itertools.count(1)
        self._stray = Service("", 0, Settings(), Meter(up), Meter(down))
        self._anyone = None if governed else self._stray
        self._watchers: list[Watcher] = []
        self.on_traffic: list[Callable[[Service], object]] = []
        """Told of a service when its sessions change, and when its bytes move after its meters listened."""
        self.on_gone: list[Callable[[Service], object]] = []
        """Told of a service that is no more, and has no session any more."""

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Service]:
        return iter(tuple(self._by_name.values()))

    def unchanging(self) -> Iterator[Service]:
        """Give every service without a copy first, which is long; none may come or go meanwhile."""
        return iter(self._by_name.values())

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def governed(self) -> bool:
        """Whether a control plane says which services there are."""
        return self._anyone is None

    def get(self, name: str) -> Service | None:
        """Give the service, or None where a control plane does not name it. O(1)."""
        return self._by_name.get(name, self._anyone)

    def find(self, name: str) -> Service | None:
        """Give the service if it may have sessions, or None: nobody named it, or it is disabled. O(1)."""
        service = self._by_name.get(name, self._anyone)
        return service if service is None or service.policy.enabled else None

    def refusal(self, name: str) -> Reject:
        """Say why :meth:`find` gave None."""
        return _DISABLED if name in self._by_name else UNKNOWN_SERVICE

    def meters(self, name: str) -> tuple[Meter, Meter]:
        """Give the meters, up and down, that a session's bytes are counted by; those of nobody if its service went."""
        service = self.get(name) or self._leaving.get(name) or self._stray
        return service.up, service.down

    def watch(self, watcher: Watcher) -> None:
        """Let `watcher` be told of every change from now on."""
        self._watchers.append(watcher)

    def foresee(self, service: Service, after: Settings | None) -> Iterator[Session | None]:
        """Give the live sessions that watchers would cut if these settings held, in short steps, some with None."""
        for watcher in self._watchers:
            if isinstance(watcher, Foreseeing):
                yield from watcher.foresee(service, after)

    def tell(self, service: Service, change: Change) -> Generator[None, None, None]:
        """Tell the watchers of a change that holds, in short steps; the last one first, which is the endpoint.

        Where sessions go is told at once, and how many devices are online, which may take long, is told later.
        """
        for watcher in reversed(self._watchers):
            yield from watcher.changed(service, change) or ()

    def settle(self) -> Generator[None, None, None]:
        """Tell the watchers that all changes of a snapshot hold, in short steps."""
        for watcher in self._watchers:
            if isinstance(watcher, Settling):
                yield from watcher.settle()

    def apply(self, change: Change, rules: SourceRules | None) -> Service:
        """Let one change hold; :meth:`tell` comes next. O(1).

        Args:
            change: of this table, as :func:`diff` gives it.
            rules: the source rules of ``change.after``, compiled.
        """
        name = change.name
        service = self._by_name.get(name)
        if change.after is None:
            service = self._by_name.pop(name)
            if service.live:
                self._leaving[name] = service
            else:
                self._let_go(service)
        elif service is None:
            service = self._leaving.pop(name, None) or self._make(name, change.after)
            self._by_name[name] = service
            waiting = self._unnamed.pop(name, 0)
            service.opened += waiting
            service.live += waiting
            service.swap(change.after)
            service.rules = rules
        else:
            service.swap(change.after)
            service.rules = rules
        return service

    def _make(self, name: str, settings: Settings) -> Service:
        def wake() -> None:
            self._tell(service)

        service = Service(name, next(self._lives), settings, Meter(self._up, wake), Meter(self._down, wake))
        return service

    def entered(self, name: str) -> None:
        """A session of this service begins.

        Where nobody says which services there are, one is there while it has sessions, if somebody follows traffic.
        Sessions of a service that the control plane does not name, or not yet, are counted until it does.
        """
        service = self.get(name) or self._leaving.get(name)
        if service is self._stray and self.on_traffic:
            service = self._by_name[name] = self._make(name, Settings())
        if service is None:
            self._unnamed[name] += 1
        else:
            service.opened += 1
            service.live += 1
            self._tell(service)

    def left(self, name: str) -> None:
        """A session of this service is over; the last one of a service that has gone takes it along."""
        service = self.get(name) or self._leaving.get(name)
        if service is None:
            self._unnamed[name] -= 1
            if not self._unnamed[name]:
                del self._unnamed[name]
        else:
            service.live -= 1
            self._tell(service)
            if not service.live and service is not self._stray:
                if not self.governed:
                    del self._by_name[name]
                elif self._leaving.pop(name, None) is None:
                    return
                self._let_go(service)

    def _let_go(self, service: Service) -> None:
        service.let_go()
        for hook in self.on_gone:
            hook(service)

    def _tell(self, service: Service) -> None:
        for hook in self.on_traffic:
            hook(service)


def diff(services: Services, snapshot: Snapshot) -> Generator[Change | None, None, None]:
    """Compare a snapshot with what holds, in short steps.

    Yields:
        The change of a service, or None for one that stays as it is and amid long lists, to stop at.
    """
    for name, after in snapshot.services.items():
        service = services.get(name) if name in services else None
        if service is None:
            yield Change(name, None, after)
        elif fields := (yield from changed_fields(service.settings, after)):
            yield Change(name, service.settings, after, fields)
        else:
            yield None
    if snapshot.full:
        for service in services.unchanging():
            yield None if service.name in snapshot.services else Change(service.name, service.settings, None)
    else:
        for name in snapshot.removed:
            service = services.get(name) if name in services else None
            yield None if service is None else Change(name, service.settings, None)
