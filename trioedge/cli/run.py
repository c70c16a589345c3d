"""``trioedge run``: serve an edge until a signal."""

from typing import Annotated

import structlog
from cyclopts import Parameter

from ..errors import ConfigurationError
from ..process import logs
from ..process import run as process
from ..telemetry.access_lines import AccessFormat
from ..telemetry.access_log import AccessLog
from ..telemetry.tracebacks import detached
from .target import load


def run(
    target: str,
    /,
    *,
    listen: Annotated[list[str] | None, Parameter(negative="", show_default=False)] = None,
    drain_seconds: float | None = None,
    log_format: logs.LogFormat = "console",
    log_level: logs.LogLevel = "info",
    access_log: Annotated[str | None, Parameter(show_default=False, allow_leading_hyphen=True)] = None,
    access_log_format: AccessFormat | None = None,
) -> int:
    """Serve an edge until SIGTERM, SIGINT or SIGQUIT, then drain; a second signal cuts at once, a third ends at once.

    SIGHUP reads the control plane's source again, and reopens the access log.

    Exit codes: 0 drained, 1 fault, 2 wrong target or configuration, 3 cannot listen, 4 sessions were cut, 5 ended by a
    third signal.

    Args:
        target: module:name, or file.py[:name]. Without a name: the only Edge there, or the one called edge.
        listen: Listen here instead, as in tcp://127.0.0.1:6380; may be repeated.
        drain_seconds: How long sessions may go on after the first signal.
        log_format: Plain lines, or JSON; both on stderr.
        log_level: The lowest level that is logged.
        access_log: Write a line for each session that ends to this file; - for stdout, or stderr.
        access_log_format: JSON, or text for people.
    """
    logs.configure(log_format, log_level)
    edge = load(target)
    if listen:
        edge.listen = tuple(listen)
    if drain_seconds is not None:
        if not drain_seconds >= 0:
            raise ConfigurationError(f"--drain-seconds {drain_seconds:g} must be at least 0")
        edge.drain_seconds = drain_seconds
    if access_log is not None:
        if access_log.startswith("-") and access_log != "-":
            raise ConfigurationError(f"--access-log needs a path, and {access_log} is an option: write ./{access_log}")
        edge.access_log = AccessLog(access_log, format=access_log_format or "json")
    elif access_log_format is not None:
        raise ConfigurationError("--access-log-format needs --access-log")
    try:
        return process.run(edge)
    except ConfigurationError:
        raise
    except Exception as fault:
        structlog.get_logger("trioedge").critical("edge failed", traceback=detached(fault))
        return process.ExitCode.FAULT
