"""The command line: ``trioedge run``, ``check``, ``diff``, ``demo``, ``doctor``, ``hash``, ``plugins`` and others.

Output goes to stdout, logs and errors to stderr. An error is one line, and the process ends with an
:class:`~trioedge.process.run.ExitCode`.
"""

import errno
import os
import sys
from collections.abc import Sequence

from ..errors import ConfigurationError, EdgeError, EdgeFileError, ListenError
from ..process.run import ExitCode
from .client.errors import UNREACHABLE, UnreachableError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give the exit code of the process.

    Args:
        arguments: the command and its options; None for those of the process.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if sys.stdout is None and given[:1] != ["run"]:  # closed, as by >&-; run says it of an access log
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for as long as the process lives
    try:
        code = _call(given)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk is one line
        return code
    except Exception as error:
        match _only(error):
            case ListenError() as wrong:
                return _fail(wrong, ExitCode.LISTEN)
            case ConfigurationError() as wrong:
                return _fail(wrong, ExitCode.CONFIGURATION)
            case UnreachableError() as wrong:
                return _fail(wrong, UNREACHABLE)
            case EdgeError() as wrong:
                return _fail(wrong, ExitCode.FAULT)
            case BrokenPipeError():  # the reader of our output has ended, as head does
                _drop_output()
                return ExitCode.FAULT
            case OSError(errno=errno.ENOSPC) as wrong:
                _drop_output()
                return _fail(f"the output cannot be written: {wrong.strerror}", ExitCode.FAULT)
        raise


def _call(given: Sequence[str]) -> int:
    if len(given) == 2 and given[0] == "check" and not given[1].startswith("-"):
        # There is nothing to parse, and the parser takes half as long to import as Trio.
        from .check import check

        return check(given[1])
    from .parser import call

    return call(given)


def _only(error: Exception) -> Exception:
    """Take a single exception out of the groups that nurseries put around it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _drop_output() -> None:
    """Let what is still buffered go nowhere, or Python would say at its end that it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: object, code: int) -> int:
    for fault in error.faults if isinstance(error, EdgeFileError) else (str(error),):
        print("trioedge:", " ".join(fault.split()), file=sys.stderr)
    return code
