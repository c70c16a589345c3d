"""Load edges from ``module:name``, ``file.py[:name]`` or ``file.toml[:name]``: the only code that runs users' files."""

import importlib
import sys
import sysconfig
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from ..arguments import binds, is_async
from ..edge import Edge
from ..errors import ConfigurationError, EdgeFileError
from ..serving.loading import loading

if TYPE_CHECKING:
    from ..config.edge_file import EdgeFile

FILE_MODULE: Final = "__trioedge_target__"
"""The module name of a file: not ``__main__``, and no name that could hide another module."""

_PACKAGE = Path(__file__).parents[1]
_INSTALLED: Final = (*(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")), _PACKAGE)


def load(target: str) -> Edge:
    """Load a target that is one edge.

    Args:
        target: as :func:`load_all` takes it; a ``file.toml`` with several edges needs the name of one.

    Raises:
        ConfigurationError: the target has no edge, or fails; one line names the fault and its place.
    """
    loaded = load_all(target)
    if isinstance(loaded, Edge):
        return loaded
    if loaded.broken:
        raise EdgeFileError(loaded.broken.values())
    if len(loaded.edges) > 1:
        raise ConfigurationError(
            f"{target}: which edge? It has {', '.join(loaded.edges)}: write {target}:{next(iter(loaded.edges))}"
        )
    return next(iter(loaded.edges.values()))


def load_all(target: str) -> "Edge | EdgeFile":
    """Load a target: the edge of a Python file or module, or all edges of a ``file.toml``.

    A file may import its siblings, as with ``python file.py``. A module is found from the current folder.

    Args:
        target: ``module:name`` or ``file.py[:name]``. The name is that of an Edge, or of a function without arguments
            that returns an Edge. Without a name: the Edge called ``edge``, or the only Edge at module level. Or
            ``file.toml[:name]``, where the name is that of an ``[edge.NAME]``.

    Raises:
        ConfigurationError: the target has no edge, or fails; one line names the fault and its place.
    """
    if target.endswith(".toml") or ".toml:" in target:
        return _load_file(target)
    where, name = _split(target)
    module = _import_file(where) if _is_file(where) else _import_module(where)
    value = _pick(module, where, name)
    if isinstance(value, Edge):
        return value
    if not callable(value):
        raise ConfigurationError(f"{where}: {name!r} is {_kind(value)}, not an Edge")
    return _call(value, where, name)


def _load_file(target: str) -> "EdgeFile":
    """Read an ``edge.toml``; with a name, only that edge of it is kept."""
    from ..config.edge_file import read_edge_file  # an edge in Python takes no plugins and no shapes of TOML

    where, name = target, ""
    if not target.endswith(".toml"):
        where, _, name = target.rpartition(":")
    path = Path(where)
    _importable(path.absolute().parent)  # an application or a plugin may stand beside the file
    with loading():
        found = read_edge_file(path)
    if not name:
        return found
    if name not in found.edges and name not in found.broken:
        raise ConfigurationError(f"{where} has no edge {name!r}: it has {', '.join([*found.edges, *found.broken])}")
    return found.only(name)


def _split(target: str) -> tuple[str, str]:
    if target and (target.endswith(".py") or ":" not in target):
        return target, ""
    where, _, name = target.rpartition(":")
    if not where or not name.isidentifier():
        raise ConfigurationError(f"target {target!r} must be module:name or file.py[:name]")
    return where, name


def _is_file(where: str) -> bool:
    return where.endswith(".py") or "/" in where


def _import_file(where: str) -> ModuleType:
    path = Path(where)
    if not path.is_file():
        raise ConfigurationError(f"{where}: {'not a file' if path.exists() else 'no such file'}")
    path = path.resolve()
    spec = spec_from_file_location(FILE_MODULE, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{where}: not a Python file, whose name ends with .py")
    _importable(path.parent)
    module = sys.modules[FILE_MODULE] = module_from_spec(spec)
    try:
        with loading():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _blame(error, where) from None
    return module


def _import_module(where: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        with loading():
            return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{where}.".startswith(f"{error.name}."):
            raise ConfigurationError(f"no module named {error.name!r}; a file is written {where}.py") from None
        raise _blame(error, where) from None
    except (Exception, SystemExit) as error:
        raise _blame(error, where) from None


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _pick(module: ModuleType, where: str, name: str) -> object:
    """Give the value called `name`; without a name, the edge called ``edge`` or the only one."""
    edges = {key: value for key, value in vars(module).items() if isinstance(value, Edge)}
    if not name and "edge" in edges:
        return edges["edge"]
    has = f"it has: {', '.join(edges)}" if edges else "it has none; write edge = te.Edge(...)"
    if name:
        try:
            return getattr(module, name)
        except AttributeError:
            raise ConfigurationError(f"{where}: no Edge named {name!r}; {has}") from None
    if not edges:
        raise ConfigurationError(
            f"{where}: no Edge at module level; write edge = te.Edge(...), or name a function, as in {where}:build"
        )
    if len(set(map(id, edges.values()))) > 1:
        raise ConfigurationError(f"{where}: which Edge? {has}; write {where}:{next(iter(edges))}")
    return next(iter(edges.values()))


def _call(factory: Any, where: str, name: str) -> Edge:
    if is_async(factory):
        raise ConfigurationError(f"{where}: {name}() is async; a plain def may return an Edge")
    if not binds(factory):
        raise ConfigurationError(f"{where}: {name}() needs arguments; only one without may return an Edge")
    try:
        edge = factory()
    except (Exception, SystemExit) as error:
        raise _blame(error, where) from None
    if not isinstance(edge, Edge):
        raise ConfigurationError(f"{where}: {name}() returned {_kind(edge)}, not an Edge")
    return edge


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _blame(error: BaseException, where: str) -> ConfigurationError:
    """Make one line of an exception that a user's file raised: the deepest line of the user's code, and the error."""
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return ConfigurationError(
            f"{_shown(error.filename, where)}:{error.lineno}: {type(error).__name__}: {error.msg}"
        )
    place = where
    for frame, line in traceback.walk_tb(error.__traceback__):
        filename = frame.f_code.co_filename
        if not filename.startswith("<") and not any(map(Path(filename).is_relative_to, _INSTALLED)):
            place = f"{_shown(filename, where)}:{line}"
    # Our own messages are complete; the messages of other errors need the name of their class.
    text = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
    return ConfigurationError(f"{place}: {text}")


def _shown(filename: str, where: str) -> str:
    """Give the name of a file as the user wrote it, or relative to the current folder."""
    path = Path(filename)
    if _is_file(where) and path == Path(where).resolve():
        return where
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else filename
