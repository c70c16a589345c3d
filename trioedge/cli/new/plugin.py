"""``trioedge new plugin``: a package with a part that works, its test, its page, and an edge that uses it."""

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from cyclopts import Parameter

from ...plugins import GROUPS, Kind
from .skeleton import TEMPLATES, check_plugin_name, filled, module_name, summary_of, write
from .trial import environment, has_pytest, try_out

PluginKind: TypeAlias = Literal["decision", "handshake", "middleware", "endpoint", "outbound", "control", "observer"]

KINDS: Final[dict[PluginKind, Kind]] = {
    "decision": Kind.STAGE, "handshake": Kind.STAGE, "middleware": Kind.STAGE, "endpoint": Kind.ENDPOINT,
    "outbound": Kind.OUTBOUND, "control": Kind.CONTROL, "observer": Kind.OBSERVER,
}  # fmt: skip

ARGUMENTS: Final[dict[PluginKind, str]] = {"control": ", path='services.txt'"}
"""Arguments that the part of a skeleton needs."""


def plugin(
    name: str, /, *, kind: PluginKind = "decision", to: Annotated[Path, Parameter(show_default=False)] = Path()
) -> int:
    """Write a plugin that works: the folder trioedge-NAME, with a class, its test, its page, and an edge.toml.

    Its own test runs before the command says what to do next. Nothing is overwritten.

    Exit codes: 0 written, and its test passes, 1 its test fails here, 2 the name or the folder is taken.

    Args:
        name: Lower-case letters, digits and hyphens, as in open-hours.
        kind: The kind of part; a decision is the simplest.
        to: The folder to write it into; the present one by default.
    """
    check_plugin_name(name)
    folder = to / f"trioedge-{name}"
    write(folder, files(name, kind))
    says = _try(folder, name, kind)
    noun = "a control plane" if kind == "control" else f"an {kind}" if kind[0] in "eo" else f"a {kind}"
    print(f"{folder} has {noun} that works: {says}")
    print(f"Change trioedge_{module_name(name)}/__init__.py and its test. To use it:")
    print()
    shown = str(folder) if folder.is_absolute() else f"./{folder}"
    print(f"pip install -e {shown}\npytest {folder}\ntrioedge plugins --check\ntrioedge check {folder}/edge.toml")
    return 0


def files(name: str, kind: PluginKind) -> dict[str, str]:
    """Return the files of a plugin, by their paths."""
    own = TEMPLATES / "plugin" / kind
    noun = "control plane" if kind == "control" else kind
    values = {
        "group": GROUPS[KINDS[kind]],
        "summary": summary_of(own / "trioedge_my_part" / "__init__.py.in"),
        "a kind": f"{'An' if noun[0] in 'eo' else 'A'} {noun}",
    }
    return filled([TEMPLATES / "plugin" / "all", own], name, values)


def _try(folder: Path, name: str, kind: PluginKind) -> str:
    """Run the test and both edges of a plugin; say in words what was tried.

    Raises:
        TrialError: one of them fails.
    """
    with environment(folder) as env:
        for edge in ("edge.toml", "example.py"):
            try_out(folder, env, "-m", "trioedge", "check", edge)
        if has_pytest():
            try_out(folder, env, "-m", "pytest", "-q", "-p", "no:cacheprovider")
            return "its test passes"
        call = f"check_plugin({name!r}, kind={str(KINDS[kind])!r}{ARGUMENTS.get(kind, '')})"
        try_out(folder, env, "-c", f"from trioedge.testing import check_plugin; {call}")
        return "check_plugin passes; its own test needs pytest and pytest-trio"
