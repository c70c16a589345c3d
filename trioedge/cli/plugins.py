"""``trioedge plugins``: list the plugins that are installed; with ``--check``, import and check them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
from cyclopts import Parameter

from ..config.edge_file import LISTS, PARTS, read_text, tables_of
from ..errors import ENDS, ConfigurationError, quote_fault
from ..plugins import BUILT_IN, Kind, Plugin, installed
from ..plugins.installed import normalised
from ..process.run import ExitCode
from .words import count

NONE_INSTALLED: Final = (
    "no plugin is installed: pip install trioedge-NAME installs one, and trioedge new plugin NAME writes one"
)

NETWORKED: Final = (Kind.OUTBOUND, Kind.CONTROL)
"""Kinds whose parts may need a server that is not here."""


@attrs.frozen
class Listed:
    """A plugin in the list.

    Attributes:
        plugin: its entry point.
        use: what an edge.toml writes, which is ``package:name`` where another part has its name.
        used: whether the edge.toml uses it; None without one.
    """

    plugin: Plugin
    use: str
    used: bool | None


def plugins(target: str | None = None, /, *, check: Annotated[bool, Parameter(negative="")] = False) -> int:
    """List the plugins that are installed: kind, name, class, package and version. Nothing is imported.

    Exit codes: 0 listed, or each passes its check, 1 one does not, 2 the edge.toml cannot be read.

    Args:
        target: An edge.toml; the list then says which plugins it uses.
        check: Import and check each plugin, or with an edge.toml those that it uses. This runs their code.
    """
    listed = _listed(target)
    if check:
        return _check([each.plugin for each in listed if each.used is not False])
    if not listed:
        print(NONE_INSTALLED)
    elif sys.stdout.isatty():
        _print_table(listed)
    else:
        for each in listed:
            print(*filter(None, _cells(each)))
    return 0


def plugins_of(target: str) -> list[Plugin]:
    """Return the plugins that an edge.toml uses; none is imported.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    return [each.plugin for each in _listed(target) if each.used]


def _listed(target: str | None) -> list[Listed]:
    """List the plugins that are installed, and whether a file uses them."""
    found = installed()
    uses = None if target is None else set(uses_of(_tables(target)))
    listed = []
    for plugin in found:
        others = [each for each in found if (each.kind, each.name) == (plugin.kind, plugin.name)]
        alone = len(others) == 1 and plugin.name not in BUILT_IN[plugin.kind]
        use = plugin.name if alone else f"{plugin.package}:{plugin.name}"
        used = None if uses is None else any(_names(kind, each, plugin, alone=alone) for kind, each in uses)
        listed.append(Listed(plugin, use, used))
    return listed


def _names(kind: Kind, use: str, plugin: Plugin, *, alone: bool) -> bool:
    """Tell whether ``use`` names a plugin."""
    package, _, name = use.rpartition(":")
    named = normalised(package) == normalised(plugin.package) if package else alone
    return (kind, name) == (plugin.kind, plugin.name) and named


def _tables(target: str) -> dict[str, Any]:
    """Read the tables of an edge.toml; its parts are not looked at.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if not target.endswith(".toml"):
        raise ConfigurationError(f"{target} is no edge.toml: plugins are used by FILE.toml")
    return tables_of(read_text(Path(target), target), target)


def uses_of(tables: dict[str, Any]) -> Iterator[tuple[Kind, str]]:
    """Yield kind and name of each part that an edge.toml uses; a table of a wrong type has none."""
    for edge in _inner(tables.get("edge")):
        for key, value in edge.items():
            yield from _within(value, PARTS.get(key) or LISTS.get(key) or Kind.STAGE)
    for outbound in _inner(tables.get("outbound")):
        yield from _within(outbound, Kind.OUTBOUND)


def _inner(table: Any) -> list[dict[str, Any]]:
    return [each for each in table.values() if isinstance(each, dict)] if isinstance(table, dict) else []


def _within(value: Any, kind: Kind) -> Iterator[tuple[Kind, str]]:
    """Yield what a value uses; a part inside of another one is a stage. It may be nested as deeply as the file says."""
    left = [(value, kind)]
    while left:
        each, its_kind = left.pop()
        if isinstance(each, list):
            left += ((inner, its_kind) for inner in each)
        elif isinstance(each, dict):
            if isinstance(use := each.get("use"), str):
                yield its_kind, use
            left += ((inner, Kind.STAGE) for inner in each.values())


def _check(found: list[Plugin]) -> int:
    """Check each plugin, and print a line for each."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))  # checks provoke errors
    failed = 0
    for plugin in found:
        try:
            print(f"ok      {plugin.kind} {plugin.name}: {plugin}{examine(plugin)}")
        except ENDS:
            raise
        except AssertionError as error:
            failed += 1
            print(f"failed  {plugin.kind} {plugin.name}: {' '.join(str(error).split())}")
        except BaseException as fault:
            failed += 1
            print(f"failed  {plugin.kind} {plugin.name}: {plugin} raised {' '.join(quote_fault(fault).split())}")
    print(f"{count(len(found), 'plugin')}, {failed or 'none'} failed" if found else NONE_INSTALLED)
    return ExitCode.FAULT if failed else 0


def examine(plugin: Plugin) -> str:
    """Check a plugin as far as its arguments have defaults; say in words how far that was.

    Raises:
        AssertionError: names the promise that it broke.
    """
    from ..testing.plugin_checks import check_package, check_part, check_words, missing_arguments

    maker = check_package(plugin)
    check_words(plugin, maker)
    if missing := missing_arguments(plugin, maker, {}):
        return f", but for what needs {', '.join(missing)}"
    try:
        check_part(plugin, maker, {}, None if plugin.kind in NETWORKED else {})
    except ConfigurationError as error:
        return f", but for what needs arguments: {' '.join(str(error).split())}"
    return ""


def _cells(each: Listed) -> tuple[str, ...]:
    used = "" if each.used is None else "used" if each.used else "unused"
    return str(each.plugin.kind), each.use, each.plugin.value, each.plugin.package, each.plugin.version, used


def _print_table(listed: list[Listed]) -> None:
    from rich import box
    from rich.console import Console  # a pipe need not wait for rich
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    columns = ("kind", "use", "class", "package", "version", "this file")
    shown = len(columns) if listed[0].used is not None else len(columns) - 1
    for column in columns[:shown]:
        table.add_column(column)
    for each in listed:
        table.add_row(*map(escape, _cells(each)[:shown]), style="dim" if each.used is False else "")
    Console().print(table)
