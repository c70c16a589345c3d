"""The fields that differ between two settings of a service, and the fates of its live sessions."""

from collections.abc import Generator
from typing import Any, Final

import attrs

from ..errors import ENDS
from .policy import FATES, FIELDS, Fate, Policy, Settings, key_of, stage_fields

ENTRIES_PER_STEP: Final = 512
"""Source entries that are compared between two yields, which takes some 10 µs."""

_NAMES: Final = tuple((field.name, field.name in ("accept", "reject")) for field in FIELDS)
"""The fields of a policy, and whether each is a list of sources, which may be long."""

_MISSING: Final = object()
"""The value of a key whose attribute was deleted."""


def ends_step(number: int) -> bool:
    """Return whether a loop yields at the entry of this number, so that its steps are short."""
    return number % ENTRIES_PER_STEP == 0


def changed_fields(before: Settings, after: Settings) -> Generator[None, None, tuple[str, ...]]:
    """Return the names of the fields in which two settings differ, in short steps however long their lists are.

    A key of a user's stage is named ``hours.since``. The name is ``stages`` if those differ and no key does, because of
    a duplicate instance, for example.

    Returns:
        The names; none for equal settings.
    """
    old, new = before.policy, after.policy
    short = len(old.accept) + len(old.reject) <= ENTRIES_PER_STEP
    if before is after or (short and not _differ(before, after)):
        return ()
    fields = []
    for name, long in _NAMES:
        one, other = getattr(old, name), getattr(new, name)
        if not (yield from _equal(one, other)) if long else _differ(one, other):
            fields.append(name)
    if _differ(old.stages, new.stages):
        fields += _changed_keys(old, new)
    if before.credentials != after.credentials:
        fields.append("password_hash")
    return tuple(fields)


def _differ(one: object, other: object) -> bool:
    """Return whether two values differ; values that cannot be compared do, such as arrays of NumPy."""
    try:
        return one is not other and bool(one != other)
    except ENDS:
        raise
    except BaseException:
        return True


def _equal(entries: tuple[str, ...], others: tuple[str, ...]) -> Generator[None, None, bool]:
    if not isinstance(others, tuple) or len(entries) != len(others):
        return False
    for start in range(0, 0 if entries is others else len(entries), ENTRIES_PER_STEP):
        end = start + ENTRIES_PER_STEP
        if entries[start:end] != others[start:end]:
            return False
        yield
    return True


def _changed_keys(old: Policy, new: Policy) -> list[str]:
    """Return the names of the keys in which two policies differ; the `stages` of the new one are not checked yet."""
    if not isinstance(new.stages, tuple):
        return ["stages"]
    changed: list[str] = []
    classes: dict[Any, None] = dict.fromkeys(map(type, (*old.stages, *new.stages)))
    for keys in classes:
        try:
            one, other = old[keys], new[keys]
        except ENDS:
            raise
        except BaseException:  # no class of keys: the snapshot is refused when this change is checked
            return ["stages"]
        for name, field in stage_fields(keys).items():
            if _differ(getattr(one, field.name, _MISSING), getattr(other, field.name, _MISSING)):
                changed.append(f"{key_of(keys)}.{name}")
    if not changed and list(map(type, old.stages)) != list(map(type, new.stages)):
        return ["stages"]
    return changed


def find_field(name: str, *settings: Settings | None) -> "tuple[type, attrs.Attribute[Any]] | None":
    """Find a key of a stage by the name that :func:`changed_fields` gives it.

    Args:
        name: ``hours.since``.
        settings: the settings that differ; one of them has an instance of the class.

    Returns:
        The class and its field; None for a field of the policy or the credentials.
    """
    key, _, field = name.partition(".")
    for each in settings if field else ():
        for stage in () if each is None else each.policy.stages:
            keys: Any = type(stage)
            if key_of(keys) == key:
                return keys, stage_fields(keys)[field]
    return None


def fate_of(name: str, *settings: Settings | None) -> Fate:
    """Return the fate of live sessions when a field changes; the arguments are those of :func:`find_field`.

    A field of no known class cannot have changed, and its fate is ``keep``.
    """
    if name in FATES:
        return FATES[name]
    found = find_field(name, *settings)
    return Fate.KEEP if found is None else Fate(found[1].metadata.get("fate", Fate.KEEP))
