"""Reads the settings of a service from a table of TOML or an object of JSON, and names every fault.

The keys are the fields of :class:`~trioedge.services.policy.Policy`, ``password_hash``, and the tables of users'
stages. Each key has one function that reads its value and checks it, so no fault hides another.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import attrs

from ..addresses.rules import compile_rules
from ..arguments import MAX_TEXT_LETTERS, size_fault, unknown_keys
from ..errors import ConfigurationError, Faults, RulesError, quote
from ..services.credentials import Credentials, check_hash
from ..services.device_rules import Handover, Unchecked
from ..services.policy import DEFAULTS, FATES, FIELDS, NEEDS, Policy, Settings, fault_of
from ..services.rates import parse_bytes, parse_rate
from ..services.stage_keys import NO_KEYS, StageKeys
from ..services.terms.moment import parse_moment

KEYS: Final = tuple(FATES)
"""The keys of every service; those of users' stages come beside them."""

Read = Callable[[Any], Any]
"""Returns the value of a key, or raises ConfigurationError with what stands behind its path."""


def read_settings(table: object, path: str, stage_keys: StageKeys = NO_KEYS) -> tuple[Settings, list[str]]:
    """Read the settings of one service; a missing key has its default. Takes some 5 µs.

    Args:
        table: keys and values as `tomllib` or `json` give them. Rates, bytes and moments may be text, as in files.
        path: where the table is, as in ``services.shop``.
        stage_keys: the tables that the stages of the edge read.

    Returns:
        The settings, and every fault, each of which begins with its path. Source entries are not checked: their
        compiler does that. With faults, the settings have the keys that are right, so that their source entries can be
        checked too.
    """
    if not isinstance(table, Mapping):
        return Settings(), [f"{path} = {quote(table)} must be a table"]
    values, wrong, others = dict[str, Any](), dict[str, str](), list[str]()
    for key, value in table.items():
        read = _READ.get(key)
        if read is None:
            others.append(key)
            continue
        try:
            values[key] = read(value)
        except ConfigurationError as error:
            wrong[key] = str(error)
    found = list[str]()
    if others:
        values["stages"], found = _read_stages(table, others, path, stage_keys)
    for key, (needed, fault) in NEEDS.items():
        is_set = key in values and values[key] != getattr(DEFAULTS, key)
        if is_set and all(table.get(other) is None for other in needed):
            wrong[key] = f" = {quote(values[key])} {fault}"
    if wrong:
        found += [f"{path}.{key}{wrong[key]}" for key in KEYS if key in wrong]
    password_hash = values.pop("password_hash", None)
    if password_hash is None:
        return Settings(Policy(**values)), found
    return Settings(Policy(**values), Credentials(password_hash)), found


def _read_stages(
    table: Mapping[str, Any], others: Sequence[str], path: str, stage_keys: StageKeys
) -> tuple[tuple[object, ...], list[str]]:
    """Read the tables of stages, and name the keys that there are not."""
    stages, found = list[object](), list[str]()
    unknown = [key for key in others if key not in stage_keys]
    if keys := [key for key in unknown if not isinstance(table[key], Mapping)]:
        there = (*KEYS, *stage_keys)
        found.append(f"{path} has no key {unknown_keys(keys, there)}: there are {', '.join(there)}")
    if tables := [key for key in unknown if isinstance(table[key], Mapping)]:
        found.append(stage_keys.unread(tables, path))
    for key in stage_keys:  # in their order, so that the order of the tables is no difference
        if key in table:
            made, faults = stage_keys.read(key, table[key], f"{path}.{key}")
            found += faults
            if made is not None:
                stages.append(made)
    return tuple(stages), found


def check_entries(policy: Policy, path: str, faults: Faults) -> None:
    """Compile the source entries of a policy and note every fault. Blocks; the result is thrown away."""
    for _ in checking_entries(policy, path, faults):
        pass


def checking_entries(policy: Policy, path: str, faults: Faults) -> Generator[None, None, None]:
    """Do the same in steps of about 50 µs."""
    if policy.accept or policy.reject:
        try:
            yield from compile_rules(policy.accept, policy.reject)
        except RulesError as error:
            faults.extend((f"{path}.{fault}" for fault in error.faults), error.more)


def _fault(value: object, wrong: str) -> ConfigurationError:
    """Make a fault that quotes the value, unless that is too large."""
    return ConfigurationError(f" {too_large}" if (too_large := size_fault(value)) else fault_of(value, wrong))


def _rate(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_rate(value)
    except ConfigurationError as error:
        raise ConfigurationError(f": {error}") from None


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_bytes(value)
    except ConfigurationError as error:
        raise ConfigurationError(f" = {error}") from None


def _moment(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_moment(value)
    except ConfigurationError as error:
        raise ConfigurationError(f" = {error}") from None


def _entries(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise _fault(value, "must be a list of addresses, prefixes or ranges")
    if not set(map(type, value)) <= {str}:  # lists are long, and a call for each entry would take ten times as long
        number, entry = next((number, entry) for number, entry in enumerate(value) if type(entry) is not str)
        raise ConfigurationError(f"[{number}]{_fault(entry, 'must be text')}")
    return tuple(value)


def _addresses(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _fault(value, "must be a list of addresses, as in ['tcp://0.0.0.0:20001']")
    return tuple(value)


def _text(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise _fault(value, "must be text")
    return value


def _choice(of: type[StrEnum]) -> Read:
    choices = tuple(of)
    return lambda value: of(value) if isinstance(value, str) and value in choices else value


def _password_hash(value: Any) -> Any:
    if value is not None and (wrong := size_fault(value) or check_hash(value)):
        raise ConfigurationError(f" {wrong}")  # a hash is never quoted
    return value


_CONVERT: Final[dict[str, Read]] = {
    "accept": _entries,
    "reject": _entries,
    "down_rate": _rate,
    "up_rate": _rate,
    "quota_bytes": _bytes,
    "quota_used": _bytes,
    "expires_at": _moment,
    "device_handover": _choice(Handover),
    "device_unchecked": _choice(Unchecked),
    "listen": _addresses,
    "destination": _text,
    "outbound": _text,
}
"""Keys with a reader of their own: the written form differs from the policy's value, or the fault quotes it."""


def _reading(field: "attrs.Attribute[Any]") -> Read:
    """Make the function that reads and checks the value of a field."""
    convert, check = _CONVERT.get(field.name), field.metadata["check"]

    def read(value: Any) -> Any:
        if isinstance(value, str) and len(value) > MAX_TEXT_LETTERS:
            raise _fault(value, "")  # before half a mebibyte is looked at
        if convert is not None:
            value = convert(value)
        if wrong := check(value):
            raise _fault(value, wrong)
        return value

    return read


_READ: Final[dict[str, Read]] = {field.name: _reading(field) for field in FIELDS} | {"password_hash": _password_hash}
