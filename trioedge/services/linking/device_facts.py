"""What an edge knows of a device, for people."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import attrs

from ..service import Service


@attrs.frozen(slots=True)
class DeviceFacts:
    """A device of a service.

    Attributes:
        device: its name.
        state: ``fresh`` or ``stale``, accepted by a verdict that is so; ``denied`` by one; ``unknown``, without a
            verdict.
        sessions: its live ones.
        since: for how many seconds its oldest live session is there; None without one.
        until: for how many seconds the state lasts, or a grace; None for as long as nothing happens.
        detail: why it is denied, or ``in grace``; else empty.
    """

    device: str
    state: str
    sessions: int
    since: float | None
    until: float | None
    detail: str


@runtime_checkable
class ListsDevices(Protocol):
    """A part of a chain that judges devices and lists them."""

    def known(self, service: Service, /) -> Iterator[DeviceFacts]:
        """Give the devices of a service that are in memory, in no order; devices may come and go between two."""
