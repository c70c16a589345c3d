"""Policy fields that are set and that no stage of the chain reads."""

from collections.abc import Collection
from itertools import chain
from typing import Final

from .policy import FIELDS, Policy

MAX_NAMED: Final = 3
"""Services that are named as examples."""

_DEFAULT: Final = Policy()


class Unenforced:
    """Collects the policy fields that services set and no stage reads, with the first services that set each.

    False if there are none. Keys of users' stages are always read: a service may only have those that a stage names.
    """

    __slots__ = ("_keys", "_services")

    def __init__(self, enforced: Collection[str]) -> None:
        """Collect nothing yet.

        Args:
            enforced: the policy fields that some stage reads.
        """
        self._keys = tuple(field.name for field in FIELDS if field.name not in enforced)
        self._services: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._services)

    def note(self, service: str, policy: Policy) -> None:
        """Add a service. Takes some microseconds."""
        for key in self._keys:
            if getattr(policy, key) != getattr(_DEFAULT, key):
                services = self._services.setdefault(key, [])
                if len(services) < MAX_NAMED:
                    services.append(service)

    @property
    def keys(self) -> list[str]:
        """The fields, sorted."""
        return sorted(self._services)

    @property
    def services(self) -> list[str]:
        """The first services that set one of them, in the order in which they were added, field by field."""
        return list(dict.fromkeys(chain.from_iterable(self._services.values())))[:MAX_NAMED]
