"""The exit codes of a process that runs edges."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of a process that runs an edge."""

    DRAINED = 0
    """Stopped by a signal; every session finished by itself."""
    FAULT = 1
    """Ended by an unexpected exception."""
    CONFIGURATION = 2
    """The target or the configuration has faults; nothing was started."""
    LISTEN = 3
    """An address cannot be listened on."""
    CUT = 4
    """Stopped by a signal; sessions were cut, at the drain deadline or by a second signal."""
    KILLED = 5
    """Ended at once by a third signal; sessions were cut, and the last reports and log lines may be missing."""
