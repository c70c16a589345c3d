"""Run an edge as a process of its own: open files, signals, exit codes."""

import os
import resource
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NoReturn

import trio

from ..arguments import check_number
from ..config.process_table import MIN_STALL_SECONDS
from ..edge import Edge
from ..errors import ConfigurationError, quote
from ..serving.listening.inherited import without_listener
from ..serving.loading import refuse_while_loading
from .beat import Beat
from .exit_code import ExitCode as ExitCode
from .one_fault import one_fault
from .parent.restart import bound_already, is_trial
from .together import Together
from .workers.count import Workers, count_workers


def run(edge: Edge, *, workers: Workers = 1, stall_seconds: float = 5.0) -> ExitCode:
    """Serve an edge until SIGTERM, SIGINT or SIGQUIT, then drain it; a second signal cuts its sessions at once.

    A third signal ends the process, whatever its stages do. SIGHUP calls :meth:`Edge.reload`. With several workers
    SIGUSR2 restarts the program in place: see docs/how-to/restart.md.

    It is for a process that does nothing else: the soft limit of open files is raised to the hard one, the objects that
    exist when the edge is ready are hidden from the garbage collector, and log lines of level info and above go to
    stderr unless the program has configured structlog.

    Args:
        edge: it may have served before, but not within a Trio run of this process.
        workers: processes that serve it, 1 to 64; ``"auto"`` for one on each core that this process may use. With 1
            there is only this process. With more, this one starts a control process and the workers, and waits.
        stall_seconds: how long the event loop of a worker may be blocked, at least 0.5. A worker that is blocked for
            longer gets no client, and after as long again it is killed and replaced.

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
    return run_edges({"": edge}, edge.reload, workers=workers, stall_seconds=stall_seconds)


def run_edges(
    edges: Mapping[str, Edge],
    reload: Callable[[], object],
    beside: Callable[[], Awaitable[None]] | None = None,
    *,
    workers: Workers = 1,
    stall_seconds: float = 5.0,
) -> ExitCode:
    """Serve several edges as :func:`run` serves one, each with its name in its log lines.

    One that cannot start, or that fails, costs itself alone: it is logged, and the others serve.

    Args:
        edges: by name.
        reload: called after a SIGHUP.
        beside: runs while they serve, and is cancelled behind them; with several workers in the control process.
        workers: as in :func:`run`.
        stall_seconds: the same.

    Returns:
        DRAINED or CUT; FAULT if an edge has failed and others have gone on.

    Raises:
        ConfigurationError: as of :func:`run`, where no edge is left.
        EdgeError: the same, for another exception.
    """
    refuse_while_loading("te.run(edge)")
    count = count_workers(workers)
    check_number("te.run", "stall_seconds", stall_seconds, minimum=MIN_STALL_SECONDS)
    if is_trial():
        _try(edges, count)
    _reserve_standard_descriptors()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _configure_logs()
    _warn_of_unused(edges.values())
    if count > 1:
        from .workers.family import run_workers  # few programs have them

        return one_fault(lambda: run_workers(edges, reload, beside, workers=count, stall_seconds=stall_seconds))
    return one_fault(lambda: trio.run(serve_until_signal, edges, reload, beside))


def _try(edges: Mapping[str, Edge], count: int) -> NoReturn:
    """End a trial of a new version, which is to succeed several workers."""
    from .parent.sockets import try_addresses

    def serve() -> ExitCode:
        if count == 1:
            raise ConfigurationError("workers=1 cannot succeed several workers in place: stop the edge, and start it")
        try_addresses(edges, bound_already())
        return ExitCode.DRAINED

    raise SystemExit(one_fault(serve))


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


async def serve_until_signal(
    edges: Mapping[str, Edge], reload: Callable[[], object], beside: Callable[[], Awaitable[None]] | None = None
) -> ExitCode:
    """Serve edges until a signal, drain them, and give the exit code; see :func:`run_edges`."""
    from .signals import StopSignals, handled  # to check an edge takes no log

    beat = Beat(lambda: live(), max(edge.drain_seconds for edge in edges.values()))
    together = Together({name: edge.serve for name, edge in edges.items()}, ready=beat.ready)

    def drain() -> None:
        for edge in edges.values():
            edge.drain()
        beat.drain()

    def live() -> int:
        return sum(len(edge.sessions) for edge in edges.values())

    with trio.CancelScope() as scope:

        def cut_all() -> None:
            together.cut += live()
            scope.cancel()

        with handled(StopSignals(drain, cut_all, live, ExitCode.KILLED), lambda: beat.reload(reload)):
            async with trio.open_nursery() as around:
                around.start_soon(beat.run)
                if beside is not None:
                    around.start_soon(beside)
                await together.serve()
                around.cancel_scope.cancel()
    return together.code()


def _reserve_standard_descriptors() -> None:
    """Open those of stdin, stdout and stderr that are closed, so that no socket gets their numbers.

    A library or a child process that writes to stderr would otherwise write to a client.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
