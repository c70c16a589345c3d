"""Run an edge as a process of its own: open files, signals, exit codes."""

import gc
import resource
import signal
from enum import IntEnum
from typing import Final

import trio

from ..edge import Edge
from ..errors import ConfigurationError, quote
from ..serving.loading import refuse_while_loading

COLLECT: Final = (700, 10, 1_000)
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


def run(edge: Edge) -> ExitCode:
    """Serve an edge until SIGTERM or SIGINT, then drain it; a second signal cuts its sessions at once.

    It is for a process that does nothing else: the soft limit of open files is raised to the hard one, the objects that
    exist when the edge is ready are hidden from the garbage collector, and log lines of level info and above go to
    stderr unless the program has configured structlog.

    Returns:
        DRAINED or CUT.

    Raises:
        ConfigurationError: the edge cannot start, because of its control plane for example; or a command of `trioedge`
            is importing this program, and would serve instead.
        ListenError: an address cannot be listened on.
    """
    if not isinstance(edge, Edge):
        raise ConfigurationError(f"te.run({quote(edge)}) must be called with an Edge: te.run(edge)")
    refuse_while_loading("te.run(edge)")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _configure_logs()
    try:
        cut = trio.run(serve_until_signal, edge)
    except BaseExceptionGroup as group:  # a fault of configuration is one exception, without the groups of nurseries
        configuration, others = group.split(ConfigurationError)
        if configuration is None or others is not None:
            raise
        raise _first(configuration) from None
    return ExitCode.CUT if cut else ExitCode.DRAINED


def _configure_logs() -> None:
    """Set up structlog unless the program has; it is imported here, because to check an edge takes no log."""
    import structlog

    from .logs import configure_structlog

    if not structlog.is_configured():
        configure_structlog()


def _first(group: BaseExceptionGroup[ConfigurationError]) -> ConfigurationError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConfigurationError)
    return error


class _Settled:
    """The task status of an edge: once the edge is ready, hide all present objects from the garbage collector.

    They stay for the life of the process, the services of the first snapshot among them. A full pass over them would
    delay every session.
    """

    def started(self, value: object = None) -> None:  # noqa: ARG002 - the shape of a task status
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT)


async def serve_until_signal(edge: Edge) -> int:
    """Serve an edge until a signal, drain it, and give the number of sessions that were cut."""
    cut = 0
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def listen_to_signals() -> None:
                nonlocal cut
                count = 0
                async for _ in signals:
                    count += 1
                    if count == 1:
                        edge.drain()
                    else:
                        cut = len(edge.sessions)
                        nursery.cancel_scope.cancel()

            nursery.start_soon(listen_to_signals)
            cut = await edge.serve(task_status=_Settled())
            nursery.cancel_scope.cancel()
    return cut
