"""How many sessions a process can afford."""

import resource
from typing import Final

from ..session.chain import Outline
from ..session.kinds import facts_of

SPARE_DESCRIPTORS: Final = 64
"""File descriptors that the default of `max_sessions` leaves to the process."""


def affordable_sessions(outline: Outline) -> int:
    """Give the number of sessions, of two sockets each, that the limit of open files allows now."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept = sum(facts_of(*part).descriptors for part in zip(outline.parts, outline.names, strict=True))
    return max(1, (files - SPARE_DESCRIPTORS - kept) // 2)
