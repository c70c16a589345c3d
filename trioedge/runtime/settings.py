"""Services as people and control planes write them, tables of TOML or objects of JSON, to settings; every fault named.

The keys are the fields of :class:`~trioedge.core.policy.Policy`, and ``password_hash``.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

import attrs

from ..core.device_rules import Handover, Unchecked
from ..core.errors import ConfigurationError
from ..core.faults import Faults
from ..core.policy import Credentials, Policy, Settings, faults
from ..core.rates import parse_rate
from ..core.source_rules import RulesError, SourceRules
from .password import check_hash

KEYS: Final = (*(field.name for field in attrs.fields(Policy)), "password_hash")
"""What may be said of a service."""

LARGEST_NUMBER: Final = 2**63 - 1
"""TOML promises no more, and no float would have to hold it."""


def read_settings(table: object, path: str) -> tuple[Settings, list[str]]:
    """Read what is said of one service; a key that is not there has its default. Takes some 10 µs.

    Args:
        table: keys and values as `tomllib` or `json` give them. Rates may be text, such as ``10 MB/s``.
        path: where it stands, as in ``services.shop``.

    Returns:
        The settings, and every fault but those within source entries, which their compiler reads; each begins with its
        path. With faults the settings mean nothing.
    """
    if not isinstance(table, Mapping):
        return Settings(), [f"{path} = {table!r} must be a table"]
    found = []
    if unknown := [key for key in table if key not in KEYS]:
        found.append(f"{path} has no key {', '.join(map(repr, unknown))}: there are {', '.join(KEYS)}")
    values: dict[str, Any] = {}
    for key in KEYS:
        if key in table:
            try:
                values[key] = _READERS.get(key, _number)(table[key], f"{path}.{key}")
            except ConfigurationError as error:
                found.append(str(error))
    credentials = Credentials(values.pop("password_hash", None))
    policy = Policy(**values)
    found += faults(policy, path)
    return Settings(policy, credentials), found


def check_entries(policy: Policy, path: str, faults: Faults) -> None:
    """Compile a policy's source entries and note every fault. Blocks while it does, and throws the result away."""
    try:
        SourceRules(policy.accept, policy.reject)
    except RulesError as error:
        faults.extend((f"{path}.{fault}" for fault in error.faults), error.more)


def _number(value: object, where: str) -> object:
    """Take anything but a number that is too large; the policy's own check looks at it."""
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise ConfigurationError(f"{where} has more than 64 bits")
    return value


def _rate(value: object, where: str) -> object:
    if not isinstance(value, str):
        return _number(value, where)
    try:
        return parse_rate(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _entries(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigurationError(f"{where} = {value!r} must be a list of addresses, prefixes or ranges")
    if not set(map(type, value)) <= {str}:  # lists are long
        number, entry = next((number, entry) for number, entry in enumerate(value) if type(entry) is not str)
        raise ConfigurationError(f"{where}[{number}] = {entry!r} must be text")
    return tuple(value)


def _choice(choices: type[StrEnum]) -> "_Reader":
    return lambda value, _: choices(value) if isinstance(value, str) and value in tuple(choices) else value


def _password_hash(value: object, where: str) -> object:
    if value is not None and (wrong := check_hash(value)):
        raise ConfigurationError(f"{where} {wrong}")
    return value


_Reader: TypeAlias = Callable[[object, str], object]

_READERS: Final[dict[str, _Reader]] = {
    "accept": _entries,
    "reject": _entries,
    "down_rate": _rate,
    "up_rate": _rate,
    "device_handover": _choice(Handover),
    "device_unchecked": _choice(Unchecked),
    "password_hash": _password_hash,
}
"""Keys whose values are written otherwise than a policy holds them, or are no part of it."""
