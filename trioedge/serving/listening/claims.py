"""Which service has which listener, as snapshots change it.

| an address | event | then |
| --- | --- | --- |
| free | an enabled service names it | taken |
| taken | another service names it, maybe before its own one lets it go | taken by that one |
| taken | its own service names it no more, is disabled or removed | released |
| taken by another service | the former one names it no more | taken |
| released | an enabled service names it | taken |
| released | every change of the snapshot is made | free |

A released address stays open and accepts no client: a service that is removed has no session from that moment on, and a
port that moves to another service within a snapshot is never closed. It is closed and opened again if the snapshot
waits for an earlier one, which ends meanwhile.
"""

from collections.abc import Iterator

from ...addresses.address import Address
from ...addresses.open_ports import listener_address
from ...services.policy import Settings
from ...services.service import Service
from ...services.snapshot import Change

_FIELDS = frozenset({"enabled", "listen"})


class Claims:
    """The addresses of all services, each with the service that has it."""

    # No address is in both.
    __slots__ = ("_owners", "_released")

    def __init__(self) -> None:
        """Start without services."""
        self._owners: dict[Address, Service] = {}
        self._released: dict[Address, None] = {}

    def __len__(self) -> int:
        """Count the addresses that are taken."""
        return len(self._owners)

    def __iter__(self) -> Iterator[Address]:
        """Give the addresses that are taken, as they are now."""
        return iter(tuple(self._owners))

    def owner(self, address: Address) -> Service | None:
        """Give the service that has an address; None for one that is free or released."""
        return self._owners.get(address)

    def follow(self, service: Service, change: Change) -> list[Address]:
        """Follow the change of a service, and give the addresses that it takes or releases, in this order."""
        if change.fields and not _FIELDS.intersection(change.fields):
            return []
        before, after = wanted(change.before), wanted(change.after)
        takes = [each for each in after if self._owners.get(each) is not service]
        releases = [each for each in before if each not in after and self._owners.get(each) is service]
        for each in takes:
            self._owners[each] = service
            self._released.pop(each, None)
        for each in releases:
            del self._owners[each]
            self._released[each] = None
        return takes + releases

    def free(self) -> Address | None:
        """Free a released address and give it, the first one first; None if there is none."""
        address = next(iter(self._released), None)
        if address is not None:
            del self._released[address]
        return address


def wanted(settings: Settings | None) -> tuple[Address, ...]:
    """Give the listeners that a service has under these settings: none if it is disabled, or removed (None)."""
    if settings is None or not settings.policy.enabled:
        return ()
    return tuple(map(listener_address, settings.policy.listen))
