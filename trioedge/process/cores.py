"""How many workers a machine has processors for."""

import os
from pathlib import Path

import attrs

from ..serving.control_groups import CGROUPS, OWN, limits


@attrs.frozen
class Cores:
    """The processors of this process.

    Attributes:
        usable: those that it may run on (sched_setaffinity(2)).
        allowance: how many of them its control groups let it use at a time, such as 1.5; None for all.
    """

    usable: int
    allowance: float | None = None

    @property
    def workers(self) -> int:
        """The workers that can be busy at the same time, at least 1."""
        return self.usable if self.allowance is None else max(1, min(self.usable, int(self.allowance)))


def cores(cgroups: Path = CGROUPS, own: Path = OWN) -> Cores:
    """Return the processors of this process, by its affinity and the lowest quota of its control groups."""
    found = limits("cpu", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", cgroups=cgroups, own=own)
    shares = []
    for texts in found:
        quota, _, period = " ".join(texts).partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            shares.append(int(quota) / int(period))
    return Cores(len(os.sched_getaffinity(0)), min(shares, default=None))
