"""The capabilities of Linux that the plugins of an edge.toml need, and those that this process has."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ...errors import ConfigurationError, quote
from ...plugins import Plugin, load
from ..plugins import plugins_of

STATUS: Final = Path("/proc/self/status")

_IN_ORDER: Final = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
NAMES: Final = tuple(f"CAP_{name}" for name in _IN_ORDER.split())
"""In the order of their bits, as linux/capability.h numbers them."""


def held(status: str) -> frozenset[str]:
    """Return the effective capabilities of a process, from the content of ``/proc/PID/status``."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    bits = int(found[1], 16) if found else 0
    return frozenset(name for number, name in enumerate(NAMES) if bits >> number & 1)


def needed(target: str) -> Iterator[tuple[Plugin, str, str]]:
    """Yield each plugin that an edge.toml uses, with a capability that it needs, or else with a fault in words.

    The plugins are imported: each says what it needs as ``needs_capabilities``, an attribute of its class.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    for plugin in plugins_of(target):
        try:
            wants: Any = getattr(load(plugin), "needs_capabilities", ())
        except ConfigurationError as error:
            yield plugin, "", str(error)
            continue
        if not isinstance(wants, (tuple, list)) or not all(each in NAMES for each in wants):
            yield plugin, "", f"needs_capabilities = {quote(wants)} must be names, as in ('CAP_NET_ADMIN',)"
            continue
        yield from ((plugin, each, "") for each in wants)
