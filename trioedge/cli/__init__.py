"""The command line: ``trioedge run``, ``check``, ``diff``, ``demo`` and ``doctor``.

Output goes to stdout, logs and errors to stderr. An error is one line, and the process ends with an
:class:`~trioedge.process.run.ExitCode`.
"""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError

from ..errors import ConfigurationError, EdgeError, ListenError
from ..process.run import ExitCode


def _version() -> str:
    from importlib.metadata import version

    return version("trioedge")


app = App(
    name="trioedge",
    help="Build the edge proxy you want from a few stages in Python, at layer-4 latency.",
    version=_version,
)
COMMANDS: Final = {
    "run": "run:run",
    "check": "check:check",
    "diff": "diff:diff_command",
    "demo": "demo.command:demo",
    "doctor": "doctor:doctor",
}
"""Modules and functions by command. Each is imported when it runs, so none waits for what another one needs."""

for _place, (_name, _function) in enumerate(COMMANDS.items(), 1):
    app.command(f"{__name__}.{_function}", name=_name, sort_key=_place)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give the exit code of the process.

    Args:
        arguments: the command and its options; None for those of the process.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] not in COMMANDS:
        for name in COMMANDS:
            app[name]  # imports it, because the list of commands has the first line of each
    if sys.stdout is None and given[:1] != ["run"]:  # closed, as by >&-; run says it of an access log
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for as long as the process lives
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk is one line
    except Exception as error:
        match _only(error):
            case CycloptsError() as wrong:
                return _fail(f"{wrong} See trioedge --help", ExitCode.CONFIGURATION)
            case ListenError() as wrong:
                return _fail(wrong, ExitCode.LISTEN)
            case ConfigurationError() as wrong:
                return _fail(wrong, ExitCode.CONFIGURATION)
            case EdgeError() as wrong:
                return _fail(wrong, ExitCode.FAULT)
            case BrokenPipeError():  # the reader of our output has ended, as head does
                _drop_output()
                return ExitCode.FAULT
            case OSError(errno=errno.ENOSPC) as wrong:
                _drop_output()
                return _fail(f"the output cannot be written: {wrong.strerror}", ExitCode.FAULT)
        raise
    return code or 0  # --help and --version give None


def _only(error: Exception) -> Exception:
    """Take a single exception out of the groups that nurseries put around it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _drop_output() -> None:
    """Let what is still buffered go nowhere, or Python would say at its end that it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: object, code: ExitCode) -> int:
    print("trioedge:", " ".join(str(error).split()), file=sys.stderr)
    return code
