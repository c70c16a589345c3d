"""One exception for a process that cannot start, and one line for its operator."""

import sys
from collections.abc import Callable
from types import TracebackType

from ..errors import ConfigurationError, ListenError
from ..telemetry.line_writer import flush_all
from .exit_code import ExitCode


def one_fault(serve: Callable[[], ExitCode]) -> ExitCode:
    """Serve, and make one exception without groups of a fault of configuration; write the last lines of the log.

    If nothing catches it, the process prints it as one line.
    """
    try:
        return serve()
    except BaseExceptionGroup as group:
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


def _first(group: BaseExceptionGroup[ConfigurationError]) -> ConfigurationError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConfigurationError)
    return error


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
