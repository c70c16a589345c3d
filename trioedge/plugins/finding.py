"""The part that a name stands for: one that ships, or a plugin; and the name that was meant by one that is unknown."""

from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final

from ..errors import ConfigurationError, quote
from .installed import Plugin, installed, normalised
from .kinds import BUILT_IN, Kind
from .loading import load

_MAX_LETTERS: Final = 100
"""Of a name that is compared with others."""


def names(kind: Kind) -> list[str]:
    """Return all names of a kind: those of the parts that ship, then those of plugins."""
    built_in = BUILT_IN[kind]
    return [*built_in, *dict.fromkeys(each.name for each in installed(kind) if each.name not in built_in)]


def find(kind: Kind, use: str) -> Any:
    """Return the part that a name stands for, and import it.

    Args:
        kind: of the part.
        use: its name, as in ``session-gate``. ``package:name`` names the plugin of one package, where several packages
            have the name or the part that ships has it.

    Returns:
        A class, or a function that makes the part, or the part itself.

    Raises:
        PluginError: the plugin of this name has a mistake: it cannot be imported, is for another version of
            :data:`PLUGIN_API`, or is no part of its kind.
        ConfigurationError: there is no such name, or several packages have it.
    """
    if use in BUILT_IN[kind]:
        module, _, name = BUILT_IN[kind][use].partition(":")
        return getattr(import_module(module), name)
    package, _, name = use.rpartition(":")
    same_name = [each for each in installed(kind) if each.name == name]
    fitting = [each for each in same_name if not package or normalised(package) == normalised(each.package)]
    if len(fitting) == 1:
        return load(fitting[0])
    if fitting:
        packages = " and of ".join(map(str, fitting))
        mend = " or ".join(quote(f"{each.package}:{name}") for each in fitting)
        raise ConfigurationError(
            f"use = {quote(use)} names {len(fitting)} plugins, of {packages}: write use = {mend}, or uninstall one"
        )
    raise ConfigurationError(_unknown_name(kind, use, same_name))


def _unknown_name(kind: Kind, use: str, same_name: list[Plugin]) -> str:
    """Describe the fault of a name that no part of this kind has; says the name that was probably meant."""
    said = f"use = {quote(use)} is no {kind.noun.partition(' ')[2]}"
    if same_name:  # of another package
        return f"{said}: did you mean {' or '.join(quote(f'{each.package}:{each.name}') for each in same_name)}?"
    own: list[str] = []
    kinds: dict[str, Kind] = {}
    plugins = installed()
    for other in Kind:
        there = [*BUILT_IN[other], *(each.name for each in plugins if each.kind is other)]
        if other is kind:
            own = list(dict.fromkeys(there))
        else:
            kinds |= dict.fromkeys(there, other)
    if use in kinds:
        return f"use = {quote(use)} is {kinds[use].noun}, not {kind.noun}"
    hint = ""
    if meant := get_close_matches(use[:_MAX_LETTERS], own, 1):
        hint = f"did you mean {meant[0]!r}? "
    elif meant := get_close_matches(use[:_MAX_LETTERS], kinds, 1):
        hint = f"did you mean {meant[0]!r}, {kinds[meant[0]].noun}? "
    begins = "There" if hint else "there"
    listed = f"{begins} are {', '.join(own)}" if own else f"{begins} is none"
    return f"{said}: {hint}{listed}; plugins are installed with pip"
