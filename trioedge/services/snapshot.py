"""Snapshots: what a control plane says of services, what that changes, and the parts that follow changes."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import attrs

from .changes import fate_of
from .policy import Fate, Settings
from .service import Service

if TYPE_CHECKING:
    from ..session.session import Session


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

    def foresee(self, service: Service, after: Settings | None, /) -> "Iterable[Session | None]":
        """Give the live sessions that it would cut if these settings held, or the service went, with None between.

        Those that are of a service that goes are not the watcher's to give.
        """


@runtime_checkable
class Settling(Protocol):
    """A watcher that tidies up once all changes of a snapshot hold."""

    def settle(self) -> Iterable[None]:
        """Do so, in steps."""
