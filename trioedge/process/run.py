"""Run an edge as a process of its own: open files, signals, exit codes."""

import gc
import os
import resource
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import IntEnum
from types import TracebackType
from typing import Final

import trio

from ..edge import Edge
from ..errors import ConfigurationError, EdgeError, ListenError, quote
from ..serving.listening.inherited import without_listener
from ..serving.loading import refuse_while_loading
from ..telemetry.line_writer import flush_all
from ..telemetry.tracebacks import detached
from .beat import Beat

COLLECT: Final = (20_000, 10, 1_000)
"""The garbage collector's thresholds: a full pass comes a hundred times less often than by default, because with 50,000
new devices or sessions one takes 0.1 s."""


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


def run(edge: Edge) -> ExitCode:
    """Serve an edge until SIGTERM, SIGINT or SIGQUIT, then drain it; a second signal cuts its sessions at once.

    A third signal ends the process, whatever its stages do. SIGHUP calls :meth:`Edge.reload`.

    It is for a process that does nothing else: the soft limit of open files is raised to the hard one, the objects that
    exist when the edge is ready are hidden from the garbage collector, and log lines of level info and above go to
    stderr unless the program has configured structlog.

    Returns:
        DRAINED or CUT.

    Raises:
        ConfigurationError: the edge cannot start, because of its control plane for example; or a command of `trioedge`
            is importing this program, and would serve instead. If the program does not catch it, it is printed as one
            line, and the exit code is 2.
        ListenError: an address cannot be listened on; the same, with exit code 3.
    """
    if not isinstance(edge, Edge):
        raise ConfigurationError(f"te.run({quote(edge)}) must be called with an Edge: te.run(edge)")
    return run_edges({"": edge}, edge.reload)


def run_edges(
    edges: Mapping[str, Edge],
    reload: Callable[[], object],
    beside: Callable[[], Awaitable[None]] | None = None,
) -> ExitCode:
    """Serve several edges as :func:`run` serves one, each with its name in its log lines.

    One that cannot start, or that fails, costs itself alone: it is logged, and the others serve.

    Args:
        edges: by name.
        reload: called after a SIGHUP.
        beside: runs while they serve, and is cancelled behind them.

    Returns:
        DRAINED or CUT; FAULT if an edge has failed and others have gone on.

    Raises:
        ConfigurationError: as of :func:`run`, where no edge is left.
        EdgeError: the same, for another exception.
    """
    refuse_while_loading("te.run(edge)")
    _reserve_standard_descriptors()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _configure_logs()
    _warn_of_unused(edges.values())
    try:
        return trio.run(serve_until_signal, edges, reload, beside)
    except BaseExceptionGroup as group:  # a fault of configuration is one exception, without the groups of nurseries
        configuration, others = group.split(ConfigurationError)
        if configuration is None or others is not None:
            raise
        error = _first(configuration)
        _one_line(error)
        raise error from None
    except ConfigurationError as error:
        _one_line(error)
        raise
    finally:
        flush_all()


def _configure_logs() -> None:
    """Set up structlog unless the program has; it is imported here, because to check an edge takes no log."""
    import structlog

    from .logs import configure_structlog

    if not structlog.is_configured():
        configure_structlog()


def _warn_of_unused(edges: Iterable[Edge]) -> None:
    """Log the sockets that systemd passed and that no edge listens on, because their clients would wait for ever."""
    if names := without_listener(address for edge in edges for address in edge.listen):
        from structlog import get_logger

        get_logger("trioedge").warning("systemd passed sockets, and no edge listens on them", names=names)


def _first(group: BaseExceptionGroup[ConfigurationError]) -> ConfigurationError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConfigurationError)
    return error


class _Settled:
    """Waits for every edge; once all are ready, or have failed, hides all present objects from the garbage collector.

    They stay for the life of the process, the services of the first snapshots among them. A full pass over them would
    delay every session.
    """

    def __init__(self, edges: Iterable[str], then: Callable[[], object]) -> None:
        self._starting, self._then = set(edges), then

    def settle(self, edge: str) -> None:
        """Note that an edge is ready or has failed; again for the same one does nothing."""
        if edge in self._starting:
            self._starting.remove(edge)
            if not self._starting:
                gc.collect()
                gc.freeze()
                gc.set_threshold(*COLLECT)
                self._then()


class _Starting:
    """The task status of one edge."""

    def __init__(self, edge: str, settled: _Settled) -> None:
        self._edge, self._settled = edge, settled

    def started(self, value: object = None) -> None:  # noqa: ARG002 - the shape of a task status
        self._settled.settle(self._edge)


async def serve_until_signal(
    edges: Mapping[str, Edge], reload: Callable[[], object], beside: Callable[[], Awaitable[None]] | None = None
) -> ExitCode:
    """Serve edges until a signal, drain them, and give the exit code; see :func:`run_edges`."""
    from structlog.contextvars import bound_contextvars  # to check an edge takes no log

    from .signals import StopSignals, handled

    cut = 0
    failures: list[Exception] = []

    def all_settled() -> None:
        if len(failures) < len(edges):
            beat.ready()

    def drain() -> None:
        for edge in edges.values():
            edge.drain()
        beat.drain()

    def live() -> int:
        return sum(len(edge.sessions) for edge in edges.values())

    settled = _Settled(edges, all_settled)
    beat = Beat(live, max(edge.drain_seconds for edge in edges.values()))

    async def serve(name: str, edge: Edge) -> None:
        nonlocal cut
        if len(edges) == 1:
            cut += await edge.serve(task_status=_Starting(name, settled))
            return
        with bound_contextvars(edge=name):
            try:
                cut += await edge.serve(task_status=_Starting(name, settled))
            except Exception as fault:
                failures.append(_told(fault, name))
                settled.settle(name)

    with trio.CancelScope() as scope:

        def cut_all() -> None:
            nonlocal cut
            cut += live()
            scope.cancel()

        with handled(StopSignals(drain, cut_all, live, ExitCode.KILLED), lambda: beat.reload(reload)):
            async with trio.open_nursery() as around:
                around.start_soon(beat.run)
                if beside is not None:
                    around.start_soon(beside)
                async with trio.open_nursery() as nursery:
                    for name, edge in edges.items():
                        nursery.start_soon(serve, name, edge)
                around.cancel_scope.cancel()
    if len(failures) == len(edges):
        raise failures[0]
    return ExitCode.FAULT if failures else ExitCode.CUT if cut else ExitCode.DRAINED


def _told(fault: Exception, edge: str) -> Exception:
    """Log why one of several edges has failed, and give the exception for the case that all have."""
    from structlog import get_logger

    only = fault
    while isinstance(only, ExceptionGroup) and len(only.exceptions) == 1:
        (only,) = only.exceptions
    if isinstance(only, ConfigurationError):
        get_logger("trioedge").error("edge cannot start", error=str(only))
        return (ListenError if isinstance(only, ListenError) else ConfigurationError)(f"edge.{edge}: {only}")
    get_logger("trioedge").critical("edge failed", traceback=detached(fault))
    return EdgeError(f"edge.{edge} failed; its exception is in the log")


def _reserve_standard_descriptors() -> None:
    """Open those of stdin, stdout and stderr that are closed, so that no socket gets their numbers.

    A library or a child process that writes to stderr would otherwise write to a client.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _one_line(error: ConfigurationError) -> None:
    """Have an error that nothing catches end the process with one line and its exit code, and without a traceback."""
    if sys.excepthook is not sys.__excepthook__:
        return

    def hook(kind: type[BaseException], raised: BaseException, traceback: TracebackType | None) -> None:
        if raised is not error:
            sys.__excepthook__(kind, raised, traceback)
            return
        if sys.stderr is not None:
            sys.stderr.write(f"trioedge: {' '.join(str(error).split())}\n")
        raise SystemExit(ExitCode.LISTEN if isinstance(error, ListenError) else ExitCode.CONFIGURATION)

    sys.excepthook = hook
