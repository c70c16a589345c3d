"""Services as people and control planes write them, tables of TOML or objects of JSON, to settings; every fault named.

The keys are the fields of :class:`~trioedge.services.policy.Policy`, and ``password_hash``. cattrs goes through a
table; each field has one hook, which reads its value and looks whether it may be, so that no fault hides another.
"""

from collections.abc import Callable, Generator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, cast

import attrs
from cattrs import ClassValidationError, Converter
from cattrs.gen import make_dict_structure_fn_from_attrs, override

from ..addresses.rules import compile_rules
from ..errors import ConfigurationError, Faults, RulesError, quote
from ..services.credentials import Credentials, check_hash
from ..services.device_rules import Handover, Unchecked
from ..services.policy import NO_OUTBOUND, Policy, Settings
from ..services.rates import parse_rate

_FIELDS: Final = (*attrs.fields(Policy), *attrs.fields(Credentials))

KEYS: Final = tuple(field.name for field in _FIELDS)
"""What may be said of a service."""

_KNOWN: Final = frozenset(KEYS)

_LONGEST_KEY: Final = max(map(len, KEYS)) + 5
"""What of a key is compared with those that there are."""

MAX_UNKNOWN_KEYS: Final = 3
"""Of a table, that are named; others are counted."""

MAX_TEXT_LETTERS: Final = 1_000
"""Of a value; to find out what is wrong with half a mebibyte takes 50 ms."""

LARGEST_NUMBER: Final = 2**63 - 1
"""TOML promises no more, and no float would have to hold it."""


def read_settings(table: object, path: str) -> tuple[Settings, list[str]]:
    """Read what is said of one service; a key that is not there has its default. Takes some 10 µs.

    Args:
        table: keys and values as `tomllib` or `json` give them. Rates may be text, such as ``10 MB/s``.
        path: where it stands, as in ``services.shop``.

    Returns:
        The settings, and every fault but those within source entries, which their compiler reads; each begins with its
        path. With faults the settings have the keys that are right, so that these entries can be looked at too.
    """
    if not isinstance(table, Mapping):
        return Settings(), [f"{path} = {quote(table)} must be a table"]
    wrong, found = dict[str, str](), list[str]()
    if not _KNOWN.issuperset(table):
        found.append(f"{path} has no key {_unknown(table)}: there are {', '.join(KEYS)}")
        table = {key: table[key] for key in KEYS if key in table}
    try:
        settings = _structure(table, Settings)
    except ClassValidationError as error:
        for fault, note in error.group_exceptions()[0]:
            wrong[note.name] = str(fault)
            # A traceback leads to the caller's frames and, through cattrs' own, back to the fault: a cycle, in which
            # all that the caller has read would wait for a garbage collection.
            fault.__traceback__ = fault.__context__ = None
        settings = _structure({key: value for key, value in table.items() if key not in wrong}, Settings)
    preconnect = table.get("preconnect")
    if preconnect and table.get("outbound") is None and "preconnect" not in wrong:
        wrong["preconnect"] = f" = {preconnect!r} {NO_OUTBOUND}"
    found += [f"{path}.{key}{fault}" for key, fault in wrong.items()]
    return settings, found


def _unknown(table: Mapping[str, object]) -> str:
    """Name the first keys that are none, say of one which was meant, and count the others."""
    unknown = [key for key in table if key not in _KNOWN]
    named = list(map(quote, unknown[:MAX_UNKNOWN_KEYS]))
    meant = get_close_matches(str(unknown[0])[:_LONGEST_KEY], KEYS, 1)  # takes 0.1 ms, so it is for one of them
    named[0] += f" (did you mean {meant[0]}?)" if meant else ""
    more = len(unknown) - MAX_UNKNOWN_KEYS
    return ", ".join(named) + (f" and {more:,} more" if more > 0 else "")


def check_entries(policy: Policy, path: str, faults: Faults) -> None:
    """Compile a policy's source entries and note every fault. Blocks while it does, and throws the result away."""
    for _ in checking_entries(policy, path, faults):
        pass


def checking_entries(policy: Policy, path: str, faults: Faults) -> Generator[None, None, None]:
    """Do the same in steps of about 50 µs."""
    if policy.accept or policy.reject:
        try:
            yield from compile_rules(policy.accept, policy.reject)
        except RulesError as error:
            faults.extend((f"{path}.{fault}" for fault in error.faults), error.more)


# Each hook gives a field's value, or raises with what has to be said behind its path.


def _number(value: object) -> object:
    """Take anything but a number that is too large, even to be quoted; the policy's own check looks at the rest."""
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise ConfigurationError(" has more than 64 bits")
    return value


def _rate(value: object) -> object:
    if not isinstance(value, str):
        return _number(value)
    try:
        return parse_rate(value)
    except ConfigurationError as error:
        raise ConfigurationError(f": {error}") from None


def _entries(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigurationError(f" = {quote(value)} must be a list of addresses, prefixes or ranges")
    if not set(map(type, value)) <= {str}:  # lists are long, and a hook for each entry would take ten times as long
        number, entry = next((number, entry) for number, entry in enumerate(value) if type(entry) is not str)
        raise ConfigurationError(f"[{number}] = {quote(entry)} must be text")
    return tuple(value)


def _text(value: object) -> object:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f" = {quote(_number(value))} must be text")
    return value


def _choice(choices: type[StrEnum]) -> Callable[[object], object]:
    return lambda value: choices(value) if isinstance(value, str) and value in tuple(choices) else value


def _password_hash(value: object) -> object:
    if value is not None and (wrong := check_hash(value)):
        raise ConfigurationError(f" {wrong}")  # never quoted
    return value


_READERS: Final[dict[str, Callable[[object], object]]] = {
    "accept": _entries,
    "reject": _entries,
    "down_rate": _rate,
    "up_rate": _rate,
    "device_handover": _choice(Handover),
    "device_unchecked": _choice(Unchecked),
    "outbound": _text,
    "password_hash": _password_hash,
}
"""Keys whose values are written otherwise than settings hold them, or are not to be quoted."""


def _hook(field: "attrs.Attribute[Any]") -> Callable[[Any, Any], Any]:
    """Give what reads and checks the value of a field."""
    read, check = _READERS.get(field.name, _number), field.metadata.get("check")

    def hook(value: object, _: object) -> object:
        if isinstance(value, str) and len(value) > MAX_TEXT_LETTERS:
            raise ConfigurationError(f" has more than {MAX_TEXT_LETTERS:,} letters")
        value = read(value)
        if check is not None and (wrong := check(value)):
            raise ConfigurationError(f" = {quote(value)} {wrong}")
        return value

    return hook


def _settings(password_hash: str | None = None, **policy: Any) -> Settings:
    """Make settings of what one table says of both parts."""
    return Settings(Policy(**policy), Credentials(password_hash))


_HOOKS: Final[dict[str, Any]] = {field.name: override(struct_hook=_hook(field)) for field in _FIELDS}

_structure: Final = make_dict_structure_fn_from_attrs(
    list(_FIELDS),
    cast(type[Settings], _settings),  # it is called, and nothing else
    Converter(),
    _cattrs_detailed_validation=True,
    **_HOOKS,
)
