"""The files of a skeleton: templates with the names of what is written, and one folder that must be new."""

import ast
import re
from collections.abc import Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Final

from ...errors import ConfigurationError, quote
from ...plugins import BUILT_IN, PLUGIN_NAME

TEMPLATES: Final = Path(__file__).parent / "templates"

MAX_NAME_LETTERS: Final = 30
"""Longer names make lines of more than 120 letters."""

_INSERT: Final = re.compile(r"<<([^<>]+)>>")


def class_name(name: str) -> str:
    """Return the name of the class of ``open-hours``: ``OpenHours``."""
    return "".join(word.capitalize() for word in name.split("-"))


def module_name(name: str) -> str:
    """Return ``open-hours`` as a part of a module's name: ``open_hours``."""
    return name.replace("-", "_")


def check_letters(name: str) -> None:
    """Refuse a name of other letters than the names of plugins have.

    Raises:
        ConfigurationError: the message has the rule.
    """
    if not PLUGIN_NAME.fullmatch(name) or len(name) > MAX_NAME_LETTERS:
        raise ConfigurationError(
            f"name {quote(name)} must be lower-case letters, digits and hyphens, a letter first, at most "
            f"{MAX_NAME_LETTERS}, as in open-hours"
        )


def check_plugin_name(name: str) -> None:
    """Refuse a name that cannot be used for a package and a class, or that a part that ships has.

    Raises:
        ConfigurationError: the message has the rule.
    """
    check_letters(name)
    for kind, names in BUILT_IN.items():
        if name in names:
            raise ConfigurationError(f"{name!r} is {kind.noun} that ships: take another name")
    made = class_name(name)
    if iskeyword(made) or made.startswith("Test"):
        meant = "pytest takes for a test" if made.startswith("Test") else "Python has for itself"
        raise ConfigurationError(f"name {name!r} makes a class {made}, which {meant}: take another name")


def filled(folders: list[Path], name: str, values: Mapping[str, str]) -> dict[str, str]:
    """Return the files of a skeleton: their texts by their paths.

    Args:
        folders: of templates; all of them together.
        name: of what is written.
        values: for ``<<key>>`` in the templates. ``<<path>>`` is the text of another file of the skeleton; a file whose
            name begins with ``_`` serves for this alone.
    """
    texts = {
        str(path.relative_to(folder)).removesuffix(".in"): path.read_text(encoding="utf-8")
        for folder in folders
        for path in sorted(folder.rglob("*.in"))
    }

    def fill(match: re.Match[str]) -> str:
        return texts[match[1]].strip() if match[1] in texts else values[match[1]]

    names = {"my-part": name, "my_part": module_name(name), "MyPart": class_name(name)}
    found = {}
    for path, text in texts.items():
        if Path(path).name.startswith("_") and not path.endswith(".py"):
            continue
        text, place = _INSERT.sub(fill, text), path
        for old, new in names.items():
            text, place = text.replace(old, new), place.replace(old, new)
        found[place] = text
    return found


def summary_of(template: Path) -> str:
    """Return the first line of the docstring of the first class in a template."""
    tree = ast.parse(template.read_text(encoding="utf-8"))
    first = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    return (ast.get_docstring(first) or "").partition("\n")[0]


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files into a folder that must be new.

    Raises:
        ConfigurationError: the folder is there, or cannot be made.
    """
    if not folder.parent.is_dir():
        raise ConfigurationError(f"{folder.parent} is no folder")
    try:
        folder.mkdir()
    except FileExistsError:
        raise ConfigurationError(f"{folder} is there already: nothing was written") from None
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be made: {error.strerror}") from None
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
