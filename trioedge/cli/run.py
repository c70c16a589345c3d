"""``trioedge run``: serve an edge until a signal."""

import signal
from collections.abc import Mapping
from typing import Annotated

import structlog
from cyclopts import Parameter
from structlog.contextvars import bound_contextvars

from ..config.edge_file import EdgeFile
from ..edge import Edge
from ..errors import ConfigurationError, EdgeFileError
from ..process import logs
from ..process import run as process
from ..process.live_file import LiveFile
from ..process.workers.count import Workers, count_workers
from ..telemetry.access_lines import AccessFormat
from ..telemetry.access_log import AccessLog
from ..telemetry.tracebacks import detached
from .target import load_all


def run(
    target: str,
    /,
    *,
    listen: Annotated[list[str] | None, Parameter(negative="", show_default=False)] = None,
    workers: Annotated[str | None, Parameter(show_default=False)] = None,
    drain_seconds: float | None = None,
    log_format: logs.LogFormat | None = None,
    log_level: logs.LogLevel | None = None,
    access_log: Annotated[str | None, Parameter(show_default=False, allow_leading_hyphen=True)] = None,
    access_log_format: AccessFormat | None = None,
    print_toml: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Serve an edge until SIGTERM, SIGINT or SIGQUIT, then drain; a second signal cuts at once, a third ends at once.

    SIGHUP reads the control plane's source again, reopens the access log, and reads a file.toml again.

    Exit codes: 0 drained, 1 fault, 2 wrong target or configuration, 3 cannot listen, 4 sessions were cut, 5 ended by a
    third signal.

    Args:
        target: module:name, or file.py[:name]. Without a name: the only Edge there, or the one called edge. Or
            file.toml[:name]: all edges of the file, or one.
        listen: Listen here instead, as in tcp://127.0.0.1:6380; may be repeated.
        workers: Processes that serve the edge, 1 to 64, or auto for one on each core. With more than one, SIGUSR2
            restarts the program in place.
        drain_seconds: How long sessions may go on after the first signal.
        log_format: Plain lines (console), or JSON; both on stderr.
        log_level: The lowest level that is logged; by default info.
        access_log: Write a line for each session that ends to this file; - for stdout, or stderr.
        access_log_format: JSON, or text for people.
        print_toml: Write the edge as an edge.toml, and serve nothing.
    """
    for early in (signal.SIGHUP, signal.SIGUSR2):  # until there are handlers, either would end the process
        if signal.getsignal(early) is signal.SIG_DFL:
            signal.signal(early, signal.SIG_IGN)
    logs.configure(log_format or "console", log_level or "info")
    loaded = load_all(target)
    edges = {"": loaded} if isinstance(loaded, Edge) else dict(loaded.edges)
    if listen:
        if len(edges) != 1:
            raise ConfigurationError(f"--listen is for one edge, and {target} has {', '.join(edges)}")
        for edge in edges.values():
            edge.listen = tuple(listen)
    if drain_seconds is not None:
        if not drain_seconds >= 0:
            raise ConfigurationError(f"--drain-seconds {drain_seconds:g} must be at least 0")
        for edge in edges.values():
            edge.drain_seconds = drain_seconds
    if access_log is not None:
        if access_log.startswith("-") and access_log != "-":
            raise ConfigurationError(f"--access-log needs a path, and {access_log} is an option: write ./{access_log}")
        for edge in edges.values():
            edge.access_log = AccessLog(access_log, format=access_log_format or "json")
    elif access_log_format is not None:
        raise ConfigurationError("--access-log-format needs --access-log")
    if print_toml:
        return _print_toml(loaded, target)
    count = _workers(workers)
    try:
        if isinstance(loaded, Edge):
            return process.run(loaded, workers=count or 1)
        return _run_file(loaded, edges, log_format, log_level, count)
    except ConfigurationError:
        raise
    except Exception as fault:
        structlog.get_logger("trioedge").critical("edge failed", traceback=detached(fault))
        return process.ExitCode.FAULT


def _workers(text: str | None) -> Workers | None:
    """Read the option; None where it is not given."""
    if text is None:
        return None
    try:
        return "auto" if text == "auto" else count_workers(int(text))
    except (ValueError, ConfigurationError):
        raise ConfigurationError(f"--workers {text} must be a whole number from 1 to 64, or auto") from None


def _print_toml(loaded: Edge | EdgeFile, target: str) -> int:
    """Write an edge as an edge.toml."""
    from ..config.to_toml import toml_of  # it is seldom asked for

    if not isinstance(loaded, Edge):
        raise ConfigurationError(f"{target} is TOML already: --print-toml is for an edge in Python")
    print(toml_of(loaded), end="")
    return process.ExitCode.DRAINED


def _run_file(
    file: EdgeFile,
    edges: Mapping[str, Edge],
    log_format: logs.LogFormat | None,
    log_level: logs.LogLevel | None,
    workers: Workers | None,
) -> int:
    """Serve the edges of a file, and apply what may change in it meanwhile."""
    form = log_format or file.process.log_format

    def set_level(level: logs.LogLevel) -> None:
        if log_level is None:  # an option of the command line goes before the file
            logs.configure(form, level)
            for edge in edges.values():
                edge.relevel()

    logs.configure(form, log_level or file.process.log_level)
    if not edges:
        raise EdgeFileError(file.broken.values())
    for name, mistake in file.broken.items():
        structlog.get_logger("trioedge").error("edge cannot start", edge=name, error=mistake)
    live = LiveFile(file, set_level)

    def reload() -> None:
        for name, edge in edges.items():
            with bound_contextvars(**({"edge": name} if len(edges) > 1 else {})):
                edge.reload()
        live.reload()

    table = file.process
    code = process.run_edges(
        edges, reload, live.run, workers=workers or table.workers, stall_seconds=table.stall_seconds
    )
    return process.ExitCode.FAULT if file.broken and code is process.ExitCode.DRAINED else code
