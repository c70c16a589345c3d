"""The grace of unknown devices: how long, how many sessions, and how many bytes before their check is answered.

The bytes of a service's devices come from one pool that refills slowly. Without it, a client that changes its address
for every session could move bytes for ever, a few from each address.
"""

from typing import Final

import attrs

from ...addresses.source_prefix import flood_groups
from ...arguments import check_count, check_number
from ...structures.places import FairPlaces, no_groups

REFILL_SECONDS: Final = 60.0
"""The time in which an empty pool becomes full again."""

MIN_SHARED: Final = 8
"""Fewer unknown devices of a service are not shared among the prefixes of their sources."""

WEIGHTS: Final = (12, 24, 48)
"""How many times the free places the unknown devices of a /24, /16 and /8 may have (/48, /32 and /16 of IPv6). A whole
office may be new at the same time, so a prefix leaves few places to others: 2 of 64."""


@attrs.frozen(slots=True)
class Grace:
    """What an unknown device may do before its check is answered.

    Attributes:
        seconds: how long the grace lasts, from the first session of the device; above 0.
        sessions: the maximum number of its live sessions; at least 1.
        bytes: how many bytes its sessions may move together, both ways; at least 0. With 0 they are connected and
            wait for the answer.
        devices: the maximum number of unknown devices of one service at a time; at least 1. The pool of a service has
            ``devices * bytes``. A device without sessions gives its place to a new one. From 8 devices on, the prefix
            of a source has no more of them than leave places to others.
    """

    seconds: float = 5.0
    sessions: int = 16
    bytes: int = 262_144
    devices: int = 64

    def __attrs_post_init__(self) -> None:
        """Raise a ConfigurationError that names the argument."""
        check_number("Grace", "seconds", self.seconds, above=0)
        check_count("Grace", "sessions", self.sessions)
        check_count("Grace", "bytes", self.bytes, minimum=0)
        check_count("Grace", "devices", self.devices)


class GracePool:
    """The bytes for the unknown devices of one service: reserved when a grace begins, returned when it ends.

    Within any `seconds` the devices spend at most ``pool * (1 + seconds / 60)`` bytes, because reserved bytes cannot
    be reserved again, and only spent bytes return with time. As in the generic cell rate algorithm, one float says how
    many are still missing: the time at which the pool would be full.
    """

    __slots__ = ("_capacity", "_device_bytes", "_places", "_rate", "_reserved", "devices", "full_at")

    def __init__(self, grace: Grace) -> None:
        self._places = FairPlaces(grace.devices, flood_groups if grace.devices >= MIN_SHARED else no_groups, WEIGHTS)
        self._device_bytes = grace.bytes
        self._capacity = grace.devices * grace.bytes
        self._rate = self._capacity / REFILL_SECONDS
        self._reserved = 0
        self.devices = 0
        """Devices that are in their grace now."""
        self.full_at = 0.0
        """When all spent bytes have returned, in seconds; 0 if none was ever spent."""

    def has_place(self, source: bytes) -> bool:
        """Return whether one more device may begin its grace, by the key of its source."""
        return self._places.fits(self.devices, source)

    def reserve(self, now: float, device: str = "", source: bytes = b"") -> int:
        """Reserve the place and the bytes of one more device: fewer than a grace has, or none, if the pool is low."""
        self._places.take(device, self.devices, source)
        missing = max(0.0, self.full_at - now) * self._rate
        reserved = min(self._device_bytes, max(0, int(self._capacity - self._reserved - missing)))
        self._reserved += reserved
        self.devices += 1
        return reserved

    def give_back(self, reserved: int, left: int, now: float, device: str = "") -> None:
        """Return a device's place, and the `left` of the bytes that were `reserved` for it; the others are spent."""
        self._places.give_back(device)
        self._reserved -= reserved
        self.devices -= 1
        spent = reserved - left
        if spent:
            self.full_at = max(self.full_at, now) + spent / self._rate
