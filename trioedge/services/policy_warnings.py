"""Warnings about policies that are right and that an edge cannot serve as they ask."""

from collections.abc import Collection
from itertools import chain
from typing import Final

from .policy import DEFAULTS, FIELDS, Policy

MAX_NAMED: Final = 3
"""Services that a warning names as examples."""


class PolicyWarnings:
    """Collects two kinds of policies, with the first services that have them.

    One sets a field that no stage reads. The other has no `outbound` where the endpoint has no other destination. Keys
    of users' stages are always read: a service may only have those that a stage names.

    Attributes:
        without_outbound: the first services whose sessions are refused because they have no outbound.
    """

    # `_not_enforced` has at most MAX_NAMED services for each field that is set and not read.
    __slots__ = ("_keys", "_needs_outbound", "_not_enforced", "without_outbound")

    def __init__(self, enforced: Collection[str], *, needs_outbound: bool = False) -> None:
        """Collect nothing yet.

        Args:
            enforced: the policy fields that some stage reads.
            needs_outbound: whether sessions are refused if their policy names no outbound.
        """
        self._keys = tuple(field.name for field in FIELDS if field.name not in enforced)
        self._needs_outbound = needs_outbound
        self._not_enforced: dict[str, list[str]] = {}
        self.without_outbound: list[str] = []

    def note(self, service: str, policy: Policy) -> None:
        """Add the policy of a service. Takes some microseconds."""
        for key in self._keys:
            if getattr(policy, key) != getattr(DEFAULTS, key):
                _add(self._not_enforced.setdefault(key, []), service)
        if self._needs_outbound and policy.outbound is None and policy.enabled:
            _add(self.without_outbound, service)

    @property
    def keys(self) -> list[str]:
        """The fields that are set and that no stage reads, sorted."""
        return sorted(self._not_enforced)

    @property
    def services(self) -> list[str]:
        """The first services that set one of these fields, in the order in which they were added, field by field."""
        return list(dict.fromkeys(chain.from_iterable(self._not_enforced.values())))[:MAX_NAMED]


def _add(services: list[str], service: str) -> None:
    if len(services) < MAX_NAMED:
        services.append(service)
