"""What policies ask for that no stage of the chain does."""

from collections.abc import Collection
from itertools import chain
from typing import Final

from .policy import FATES, Policy

MAX_NAMED: Final = 3
"""Services that are named whose policies ask for what no stage does."""

_DEFAULT: Final = Policy()


class Unenforced:
    """Keys of policies that say something and that no stage reads, each with the first services of which they say it.

    False if there are none.
    """

    __slots__ = ("_keys", "_services")

    def __init__(self, enforced: Collection[str]) -> None:
        """Take the keys that some stage reads."""
        self._keys = tuple(key for key in FATES if hasattr(_DEFAULT, key) and key not in enforced)
        self._services: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._services)

    def note(self, service: str, policy: Policy) -> None:
        """Look at a service's policy; some microseconds."""
        for key in self._keys:
            if getattr(policy, key) != getattr(_DEFAULT, key):
                services = self._services.setdefault(key, [])
                if len(services) < MAX_NAMED:
                    services.append(service)

    @property
    def keys(self) -> list[str]:
        """The keys, sorted."""
        return sorted(self._services)

    @property
    def services(self) -> list[str]:
        """The first services, in the order in which they were looked at, key by key."""
        return list(dict.fromkeys(chain.from_iterable(self._services.values())))[:MAX_NAMED]
