"""The command line: ``trioedge run``, ``check``, ``diff``, ``demo`` and ``doctor``.

Output goes to stdout, logs and errors to stderr. An error is one line, and the process ends with an
:class:`~trioedge.process.run.ExitCode`.
"""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

from ..errors import ConfigurationError, ListenError
from ..process.run import ExitCode
from .check import check as check_command
from .demo.command import demo as demo_command
from .diff import UnansweredError, diff_command
from .doctor import doctor as doctor_command
from .run import run as run_command

app = App(
    name="trioedge",
    help="Build the edge proxy you want from a few stages in Python, at layer-4 latency.",
    version=lambda: version("trioedge"),
)
app.command(run_command, name="run", sort_key=1)
app.command(check_command, name="check", sort_key=2)
app.command(diff_command, name="diff", sort_key=3)
app.command(demo_command, name="demo", sort_key=4)
app.command(doctor_command, name="doctor", sort_key=5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give the exit code of the process.

    Args:
        arguments: the command and its options; None for those of the process.
    """
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except Exception as error:
        match _only(error):
            case CycloptsError() as wrong:
                return _fail(f"{wrong} See trioedge --help", ExitCode.CONFIGURATION)
            case ListenError() as wrong:
                return _fail(wrong, ExitCode.LISTEN)
            case ConfigurationError() as wrong:
                return _fail(wrong, ExitCode.CONFIGURATION)
            case UnansweredError() as wrong:
                return _fail(wrong, ExitCode.FAULT)
            case BrokenPipeError():  # the reader of our output has ended, as head does
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return ExitCode.FAULT
        raise
    return code or 0  # --help and --version give None


def _only(error: Exception) -> Exception:
    """Take a single exception out of the groups that nurseries put around it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _fail(error: object, code: ExitCode) -> int:
    print("trioedge:", " ".join(str(error).split()), file=sys.stderr)
    return code
