"""Import a plugin, and refuse one that fails, is for another interface, or is no part of its kind."""

import inspect
import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from ..arguments import is_async, is_whole_number
from ..errors import ConfigurationError, message_of, quote
from ..observers.observer import Observer
from ..services.context import Outbound
from ..services.control_plane import ControlPlane
from ..session.handshake import Handshake
from ..session.stage import Decision, Endpoint, Middleware, Recipe
from .installed import Plugin
from .kinds import Kind

PLUGIN_API: Final = (1, 0)
"""The plugin interface of this version of trioedge, as major and minor number.

A plugin may say the interface it is written for as `plugin_api`, an attribute of its class or module. It is refused if
the major numbers differ, or if its minor number is higher.
"""

_PACKAGE: Final = __name__.partition(".")[0]

_SHAPES: Final[Mapping[Kind, tuple[tuple[type, ...], str]]] = {
    Kind.STAGE: (
        (Decision, Handshake, Middleware, Recipe),
        "decide(session), converse(session), handle(session, call_next) or open(context)",
    ),
    Kind.ENDPOINT: ((Endpoint, Recipe), "handle(session) or open(context)"),
    Kind.OUTBOUND: ((Outbound, Recipe), "connect(address) or open(context)"),
    Kind.CONTROL: ((ControlPlane,), "run(link, *, task_status)"),
    Kind.OBSERVER: ((Observer, Recipe), "observe(batch) or open(context)"),
}
"""The protocols of which a part of a kind has one, and their methods in words."""

_VALUE: Final = re.compile(r"(?P<module>[^\W\d][\w.]*)\s*:\s*(?P<name>[^\W\d][\w.]*)\s*(?:\[.*\])?")
"""The value of an entry point; extras in brackets are an old form, and have no effect."""

_MAX_LETTERS: Final = 300
_MAX_CAUSES: Final = 10


class PluginError(ConfigurationError):
    """A mistake of a plugin, not of the operator who named it: it cannot be imported, or is no part of its kind."""


def load(plugin: Plugin) -> Any:
    """Import a plugin and return its part, as :func:`find` does.

    Raises:
        PluginError: the plugin has a mistake; the message names its package and version.
    """
    place = _VALUE.fullmatch(plugin.value)
    if place is None:
        raise PluginError(
            f"{plugin}: its entry point {quote(plugin.name)} = {quote(plugin.value)} must be 'module:Class'"
        )
    try:
        module = import_module(place["module"])
        _check_interface(plugin, module)
        value = _look_up(plugin, module, place["name"])
        _check_interface(plugin, value)
        fault = _kind_fault(plugin.kind, value)
    except (PluginError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also a SystemExit
        raise PluginError(f"{plugin} cannot be imported: {_import_fault(plugin, place['module'], error)}") from error
    if fault := fault or _signature_fault(plugin.kind, value):
        raise PluginError(f"{plugin}: {plugin.value} {fault}")
    return value


def is_part(kind: Kind, value: Any) -> bool:
    """Return whether a value is a part of its kind itself, as a decorated function is, and not what makes one."""
    return not isinstance(value, type) and isinstance(value, _SHAPES[kind][0])


def _look_up(plugin: Plugin, module: ModuleType, names: str) -> Any:
    """Return the part at a dotted name of a module."""
    value: Any = module
    for name in names.split("."):
        if not hasattr(value, name):
            meant = get_close_matches(name, dir(value), 1)
            hint = f"; did it mean {meant[0]!r}?" if meant else ""
            raise PluginError(f"{plugin}: its entry point is {plugin.value!r}, and there is no {name!r}{hint}")
        value = getattr(value, name)
    return value


def _import_fault(plugin: Plugin, module: str, error: BaseException) -> str:
    """Describe why a plugin cannot be imported, in one line: the module that is missing, or the error and its place."""
    root = _root(error)
    top = module.partition(".")[0]
    if _is_about_trioedge(root):
        return f"it wants more than this trioedge has ({_line(root)}): pip install -U trioedge"
    if isinstance(root, ModuleNotFoundError) and root.name:
        if f"{module}.".startswith(f"{root.name}."):
            return f"its entry point names the module {root.name!r}, which is not there: reinstall it"
        if root.name.startswith(f"{top}."):
            return f"its module {root.name!r} is missing: reinstall it"
        return (
            f"it needs the module {root.name.partition('.')[0]!r}, which is not installed: "
            f"pip install {plugin.package} installs what it needs"
        )
    because = "" if root is error else f", because of {_line(root)}"
    return f"{_line(error)}{because}{_place(error, top)}"


def _root(error: BaseException) -> BaseException:
    """Give the first exception of a chain of causes."""
    for _ in range(_MAX_CAUSES):
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is None:
            break
        error = before
    return error


def _is_about_trioedge(error: BaseException) -> bool:
    """Tell whether a name or module of trioedge itself is missing."""
    if isinstance(error, ImportError):
        return (error.name or "").partition(".")[0] == _PACKAGE
    owner = error.obj if isinstance(error, AttributeError) else None
    return isinstance(owner, ModuleType) and owner.__name__.partition(".")[0] == _PACKAGE


def _line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else message_of(error)
    return f"{type(error).__name__}: {' '.join(text.split())}"[:_MAX_LETTERS]


def _place(error: BaseException, top: str) -> str:
    """Give the deepest line of a plugin's own code in a traceback: `` (trioedge_hours/__init__.py:12)``."""
    found = ""
    if isinstance(error, SyntaxError) and error.filename:
        found = f"{error.filename}:{error.lineno}"
    trace = None if found else error.__traceback__
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if re.search(rf"(?:^|/){re.escape(top)}(?:/|\.py$)", filename):
            found = f"{filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    before, _, after = found.rpartition(f"/{top}")
    return f" ({top}{after})" if before else f" ({found})" if found else ""


def _check_interface(plugin: Plugin, owner: object) -> None:
    """Refuse a plugin whose module or class says that it is for an interface that this trioedge does not have."""
    wants = getattr(owner, "plugin_api", None)
    if wants is None:
        return
    if not isinstance(wants, (tuple, list)) or len(wants) != 2 or not all(map(is_whole_number, wants)):
        raise PluginError(f"{plugin}: plugin_api = {quote(wants)} must be two whole numbers, as in (1, 0)")
    wanted, here = tuple(wants), PLUGIN_API
    if wanted[0] == here[0] and wanted <= here:
        return
    older = plugin.package if wanted < here else _PACKAGE
    raise PluginError(
        f"{plugin} is for plugin interface {wanted[0]}.{wanted[1]}, this is {here[0]}.{here[1]}: pip install -U {older}"
    )


def _kind_fault(kind: Kind, value: Any) -> str:
    """Describe the fault of a value that cannot be a part of a kind, nor make one; empty for a good one."""
    if is_async(value):
        return f"is async, and cannot make {kind.noun}: name a class, or a plain function that returns one"
    protocols, methods = _SHAPES[kind]
    is_class = isinstance(value, type)
    if issubclass(value, protocols) if is_class else isinstance(value, protocols):
        return ""
    if not is_class and callable(value):
        return ""  # a function, whose result the edge checks
    what = "is" if is_class else f"is of type {type(value).__name__},"
    return f"{what} no {kind.noun.partition(' ')[2]}: a class of that kind has {methods}"


def _signature_fault(kind: Kind, value: Any) -> str:
    """Describe the fault of what makes a part with arguments that cannot be known, as of a function in C; else ""."""
    if is_part(kind, value):
        return ""
    try:
        inspect.signature(value)
    except Exception as error:
        return f"has no signature, of which the keys of a table are made: {_line(error)}"
    return ""
