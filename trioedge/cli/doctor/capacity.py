"""How many workers and sessions this machine has room for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ...edge import Edge
from ...errors import ConfigurationError
from ...process.cores import Cores
from ...serving.affordable import MEMORY_PART, SESSION_BYTES, SPARE_DESCRIPTORS
from ..target import load_all
from ..words import amount, count
from .finding import Finding

FEW_SESSIONS: Final = 1_000

MEMORY: Final = Path("/proc/meminfo")


def workers(cores: Cores) -> Finding:
    """Say how many workers have a processor each."""
    there = count(cores.usable, "processor")
    if cores.allowance is not None and cores.allowance < cores.usable:
        there += f", of which the control group allows {cores.allowance:.3g} at a time"
    if cores.workers == 1:
        return Finding("ok", "workers", f"{there}: one worker, as without --workers")
    return Finding("ok", "workers", f"{there}: --workers {cores.workers} uses them")


def open_files(soft: int, hard: int) -> Finding:
    """Judge the limit of open files; a session needs two."""
    sessions = (hard - SPARE_DESCRIPTORS) // 2
    if sessions < 1:
        return Finding("problem", "open files", f"{hard:,} at most leave none for a session; see ulimit -Hn")
    text = f"{hard:,} at most, so {sessions:,} sessions may live"
    if soft < hard:
        text += f"; {soft:,} unless raised, as trioedge run does"
    return Finding("note" if sessions < FEW_SESSIONS else "ok", "open files", text)


def memory(limit: int, meminfo: str) -> Finding:
    """Say how many sessions the memory has room for.

    Args:
        limit: bytes of the machine, or of the control group.
        meminfo: the content of ``/proc/meminfo``.
    """
    sessions = limit // MEMORY_PART // SESSION_BYTES
    text = (
        f"{amount(limit)}, so {sessions:,} sessions may live by default: {SESSION_BYTES // 1024} KiB each in half of it"
    )
    free = _available(meminfo)
    if free is not None and free < limit // MEMORY_PART:
        return Finding("note", "memory", f"{text}; only {amount(free)} are available now, so set max_sessions")
    return Finding("note" if sessions < FEW_SESSIONS else "ok", "memory", text)


def sessions_of(target: str, limit: int) -> Iterator[Finding]:
    """Judge the memory of the sessions that the edges of a target allow; nothing for one with faults.

    Args:
        target: as :func:`load_all` takes it.
        limit: bytes of the machine, or of the control group.
    """
    try:
        loaded = load_all(target)
    except ConfigurationError:
        return
    for name, edge in ({"": loaded} if isinstance(loaded, Edge) else loaded.edges).items():
        allowed = edge.description.max_sessions
        if allowed is None:
            continue
        most = allowed * SESSION_BYTES
        text = f"max_sessions = {allowed:,} may take {amount(most)} if no client reads"
        if most > limit:
            yield Finding("note", f"edge {name}".strip(), f"{text}, and there are {amount(limit)}")
        else:
            yield Finding("ok", f"edge {name}".strip(), text)


def _available(meminfo: str) -> int | None:
    words = next((line.split() for line in meminfo.splitlines() if line.startswith("MemAvailable:")), [])
    return int(words[1]) * 1024 if len(words) == 3 and words[1].isdecimal() else None
