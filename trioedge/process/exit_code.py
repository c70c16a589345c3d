"""The exit codes of a process that runs edges."""

import signal
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


def how_ended(code: int) -> str:
    """Say how a process ended: ``exit code 1``, or ``signal SIGKILL`` for -9."""
    if code >= 0:
        return f"exit code {code}"
    names = {number.value: number.name for number in signal.Signals}  # those of real time have no names
    return f"signal {names.get(-code, -code)}"
