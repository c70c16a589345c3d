"""An edge as a process of its own: open files, signals, exit codes."""

import gc
import resource
import signal
import sys
from enum import IntEnum
from typing import Final

import structlog
import trio

from ..edge import Edge
from ..errors import ConfigurationError

COLLECT: Final = (700, 10, 1_000)
"""The collector's thresholds: it looks at everything a hundred times less often than by default, for with 50,000 new
devices or sessions that takes a tenth of a second."""


class ExitCode(IntEnum):
    """What the process says when it ends."""

    DRAINED = 0
    """Stopped by a signal; every session finished by itself."""
    FAULT = 1
    """Ended by an exception nobody expected."""
    CONFIGURATION = 2
    """The target or the configuration cannot be; nothing was started."""
    LISTEN = 3
    """An address cannot be listened on."""
    CUT = 4
    """Stopped by a signal; sessions were cut, at the drain deadline or by a second signal."""


def run(edge: Edge) -> ExitCode:
    """Serve until SIGTERM or SIGINT, then drain; a second signal cuts at once.

    For a process that is an edge and nothing else: the soft limit of open files is raised to the hard one, what is
    there when the edge is ready is taken out of the garbage collector's sight, and log lines go to stderr unless
    structlog was configured otherwise.

    Returns:
        DRAINED or CUT.

    Raises:
        ListenError: an address cannot be listened on.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not structlog.is_configured():
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )  # a traceback with local variables would show secrets
        stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        structlog.configure(
            processors=[structlog.processors.add_log_level, stamp, renderer],
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
    try:
        cut = trio.run(serve_until_signal, edge)
    except BaseExceptionGroup as group:  # out of its nurseries, as one line
        configuration, others = group.split(ConfigurationError)
        if configuration is None or others is not None:
            raise
        raise _first(configuration) from None
    return ExitCode.CUT if cut else ExitCode.DRAINED


def _first(group: BaseExceptionGroup[ConfigurationError]) -> ConfigurationError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConfigurationError)
    return error


class _Settled:
    """Told that the edge is ready: what is there now, the services of its first snapshot among it, is there to stay.

    So it is taken out of the collector's sight, which would look at all of it while sessions wait.
    """

    def started(self, value: object = None) -> None:  # noqa: ARG002 - the shape of a task status
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT)


async def serve_until_signal(edge: Edge) -> int:
    """Serve until a signal, drain, and give how many sessions were cut."""
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
