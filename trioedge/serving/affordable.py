"""How many sessions and handshakes a process can afford, by its open files and by its memory."""

import os
import resource
from pathlib import Path
from typing import Final

import attrs

from ..loop.parting import MAX_PARTING
from ..loop.reactor import BUFFER_BYTES
from ..services.sharing.worker_share import WorkerShare
from ..session.kinds import facts_of
from ..session.outline import Outline
from ..telemetry.log import EdgeLog
from .control_groups import CGROUPS, OWN, limits

SPARE_DESCRIPTORS: Final = 64
"""File descriptors that the default of `max_sessions` leaves to the process."""

MAX_HANDSHAKES: Final = 1_024
"""The default of `max_handshakes`."""

HANDSHAKES_PART: Final = 8
"""One of so many parts of the open files, if that is less."""

LISTENERS_PART: Final = 8
"""The listeners that policies name may have one of so many parts of the open files."""

SESSION_BYTES: Final = 2 * BUFFER_BYTES
"""The most memory of a session, at which both sides have stopped to read; without them it takes some 2 KiB."""

MEMORY_PART: Final = 2
"""The sessions of the default may fill one of so many parts of the memory, if no client reads."""

FEW_SESSIONS: Final = 100
"""Fewer than these are named in the log, because no operator wants so few."""


@attrs.frozen
class Affordable:
    """Numbers of sessions.

    Attributes:
        limit: the limit of open files.
        files: sessions that it allows, at least 1.
        memory: sessions that the memory allows, at least 1.
        handshakes: clients that may be in their handshakes, at least 1.
        listeners: listeners that policies may have, at least 1; 0 on an edge without ``open_ports=``.
    """

    limit: int
    files: int
    memory: int
    handshakes: int
    listeners: int = 0

    def max_sessions(self, wanted: int | None, log: EdgeLog) -> int:
        """Give the most live sessions; the log says why if they are few, or more than the process can afford."""
        if self.files < (wanted or FEW_SESSIONS):
            log.notice("few open files", limit=self.limit, sessions=self.files, mend="raise it with ulimit -n")
        return wanted or min(self.files, self.memory)


def affordable_sessions(
    outline: Outline, max_handshakes: int | None = None, *, opens_ports: bool = False, share: WorkerShare | None = None
) -> Affordable:
    """Give the number of sessions that the present limits allow.

    A session has two sockets. A client in its handshakes has one, and so has one that is told why it is refused. Where
    stages are in front of the handshake that names the source, a session that goes to another worker has a line, and
    each worker has an end of it.

    Args:
        outline: the chain; its parts keep descriptors of their own.
        max_handshakes: as in :class:`Edge`.
        opens_ports: whether policies may name listeners.
        share: this process as one of several workers, which divide `max_handshakes`.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    handshakes = max_handshakes or max(1, min(MAX_HANDSHAKES, limit // HANDSHAKES_PART))
    if max_handshakes is not None and share is not None:
        handshakes = max(1, max_handshakes // share.workers)
    listeners = max(1, limit // LISTENERS_PART) if opens_ports else 0
    kept = listeners + sum(facts_of(*part).descriptors for part in zip(outline.parts, outline.names, strict=True))
    if outline.talks:
        kept += handshakes + MAX_PARTING
    sockets = 2 if share is None or not outline.source_at else 4
    files = (limit - SPARE_DESCRIPTORS - kept) // sockets
    memory = memory_bytes() // MEMORY_PART // SESSION_BYTES
    return Affordable(limit, max(1, files), max(1, memory), handshakes, listeners)


def memory_bytes(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Give the memory of the machine, or the lowest limit of the process's control groups (cgroup v2 and v1)."""
    found = limits("memory", "memory.max", "memory.limit_in_bytes", cgroups=cgroups, own=own)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *(int(text) for (text,) in found if text.isdecimal())])
