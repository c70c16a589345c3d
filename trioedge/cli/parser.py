"""The parser of the command line: commands by name, their options and their help."""

from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError

from ..errors import ConfigurationError


def _version() -> str:
    from importlib.metadata import version

    return version("trioedge")


_APP: Final = App(
    name="trioedge",
    help="Build the edge proxy you want from a few stages in Python, at layer-4 latency.",
    version=_version,
)
COMMANDS: Final = {
    "run": "run:run",
    "check": "check:check",
    "diff": "diff:diff_command",
    "demo": "demo.command:demo",
    "doctor": "doctor.command:doctor",
    "hash": "hash:hash_command",
    "plugins": "plugins:plugins",
    "new": "new.command:app",
    "schema": "schema:schema",
    "completion": "completion:completion",
    "man": "manual:man",
    "state": "live.state:state",
    "statistics": "live.statistics:statistics",
    "top": "top.command:top",
    "sessions": "live.sessions:sessions",
    "services": "live.services:services",
    "explain": "live.explain:explain",
    "evict": "live.evict:evict",
    "upstreams": "live.upstreams:upstreams",
    "stages": "live.stages:stages",
    "logs": "live.logs:logs",
    "log-level": "live.logs:log_level",
    "plan": "live.plan:plan",
    "drain": "live.drain:drain",
    "restart": "live.restart:restart",
}
"""Modules and functions by command. Each is imported when it runs, so none waits for what another one needs."""

for _place, (_name, _function) in enumerate(COMMANDS.items(), 1):
    _APP.command(f"{__package__}.{_function}", name=_name, sort_key=_place)


def all_commands() -> App:
    """Return the whole command line, every command imported."""
    for name in COMMANDS:
        _APP[name]
    return _APP


def call(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name, and give its exit code; exceptions of the command come out.

    Raises:
        ConfigurationError: there is no such command, option or value.
    """
    if not arguments or arguments[0] not in COMMANDS:
        all_commands()  # because the list of commands has the first line of each
    try:
        code = _APP(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as wrong:
        raise ConfigurationError(f"{wrong} See trioedge --help") from None
    return code or 0  # --help and --version give None
