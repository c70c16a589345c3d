"""``trioedge man``: the manual page trioedge(1), made of the help of the commands."""

import inspect
from collections.abc import Iterator
from typing import Any, Final

from cyclopts import App

from ..process.run import ExitCode
from .client.which import INTERRUPTED
from .parser import all_commands

ENVIRONMENT: Final = {
    "TRIOEDGE_EDGE": "The edge that commands ask, as --edge.",
    "TRIOEDGE_TOKEN": "The token of its admin API.",
    "NO_COLOR": "Leaves colours out of log lines and of output.",
    "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES": "Sockets that systemd passes, for listen = 'systemd:NAME'.",
    "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID": "Where run tells systemd how it is.",
    "CREDENTIALS_DIRECTORY": "The folder of secrets that are given as { credential = 'NAME' }.",
}  # fmt: skip
SIGNALS: Final = {
    "SIGTERM, SIGINT, SIGQUIT": "The first drains, the second cuts the sessions, the third ends the process at once.",
    "SIGHUP": "Reads the services and a file.toml again, and opens the access log again.",
    "SIGUSR2": "With several workers: restarts the program in place.",
}
CODES: Final = {
    ExitCode.DRAINED: "It has done what it was asked for. After run: every session finished by itself.",
    ExitCode.FAULT: "An unexpected exception, or a command that says so.",
    ExitCode.CONFIGURATION: "The target, an option or a file is wrong; nothing was started.",
    ExitCode.LISTEN: "An address cannot be listened on. Of a command that asks an edge: the edge cannot be reached.",
    ExitCode.CUT: "Stopped by a signal; sessions were cut.",
    ExitCode.KILLED: "Ended at once by a third signal.",
    INTERRUPTED: "A command that asks an edge was stopped by Ctrl-C.",
}


def man() -> int:
    """Write the manual page trioedge(1) to stdout: trioedge man | man -l -."""
    from importlib.metadata import version

    print(page(all_commands(), version("trioedge")))
    return 0


def page(app: App, version: str) -> str:
    """Return the page in the macros of man(7)."""
    return "\n".join(
        [
            f'.TH TRIOEDGE 1 "" "trioedge {_text(version)}" "User Commands"',
            *_section("NAME"), f"trioedge \\- {_text(_help(app).rstrip('.'))}",
            *_section("SYNOPSIS"), r".B trioedge", r".I COMMAND", r"[\fIARGUMENT\fR]...",
            *_section("DESCRIPTION"),
            *_lines("A framework for edge proxies of layer 4. A target is module:name, file.py[:name] or "
                    "file.toml[:name]; the guide explains how to write one. Output goes to stdout, logs and errors to "
                    "stderr; an error is one line that begins with trioedge:."),
            *_section("COMMANDS"), *_commands(app, "trioedge"),
            *_section("SIGNALS"), *_table(SIGNALS),
            *_section("EXIT STATUS"), *_table({str(int(code)): text for code, text in CODES.items()}),
            *_section("ENVIRONMENT"), *_table(ENVIRONMENT),
            *_section("SEE ALSO"), r".BR systemd.socket (5), \ systemd.service (5)",
        ]
    )  # fmt: skip


def _section(title: str) -> Iterator[str]:
    yield f".SH {title}"


def _commands(app: App, path: str) -> Iterator[str]:
    for each in app.subapps:
        name = each.name[0]
        if name.startswith("-") or not each.show or name in ("help-print", "version-print"):
            continue
        if any(not sub.name[0].endswith("-print") for sub in each.subapps):
            yield from _commands(each, f"{path} {name}")
            continue
        arguments: list[Any] = list(each.assemble_argument_collection(parse_docstring=True))
        yield f".SS {_text(' '.join([path, name, *_usage(arguments)]))}"
        yield from _lines(_help(each))
        yield from _table({_shown(argument): _about(argument) for argument in arguments if argument.show})


def _usage(arguments: list[Any]) -> Iterator[str]:
    for each in arguments:
        if each.show and each.parameter.name and not each.name.startswith("-"):
            yield each.name if each.required else f"[{each.name}]"
    if any(each.show and each.name.startswith("-") for each in arguments):
        yield "[OPTION]..."


def _shown(argument: Any) -> str:
    """Return an argument as it is written: ``--log-level debug|info``."""
    choices = argument.get_choices()
    if not argument.name.startswith("-"):
        return str(argument.name)
    if choices:
        return f"{argument.name} {'|'.join(map(str, choices))}"
    if argument.is_flag():
        return str(argument.name)
    return f"{argument.name} {argument.name.lstrip('-').upper().replace('-', '_')}"


def _about(argument: Any) -> str:
    return " ".join((argument.parameter.help or "").split())


def _help(app: App) -> str:
    """Return the help of a command, without that of its arguments."""
    return inspect.cleandoc(app.help or "").partition("\nArgs:")[0].strip()


def _lines(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ".PP"
        yield _text(" ".join(paragraph.split()))


def _table(rows: dict[str, str]) -> Iterator[str]:
    for name, text in rows.items():
        yield ".TP"
        yield rf"\fB{_text(name)}\fR"
        yield _text(text)


def _text(text: str) -> str:
    """Write text so that roff takes no letter of it for an order."""
    plain = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{plain}" if plain.startswith((".", "'")) else plain
