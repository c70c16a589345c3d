"""The keys of users' stages in a service: the tables that there are, and the reading and checking of one.

A stage names an attrs class, and reads its keys from the policy of a session. In a services file they are a table whose
name is that of the class in snake_case::

    @attrs.frozen
    class Hours:
        since: int = 0
        until: int = attrs.field(default=24, metadata={"fate": "recheck"})


    class OpenHours:
        policy = Hours

        def decide(self, session): ...  # session.policy[Hours].since

    [services.shop.hours]
    since = 8
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, get_type_hints

import attrs

from ..annotations import Reader, reader_of
from ..arguments import choice_fault, size_fault, unknown_keys
from ..errors import ENDS, ConfigurationError, message_of, quote
from .policy import FATES, Fate, defaults_of, key_of, stage_fields

MAX_MESSAGE_LETTERS: Final = 200
"""Letters of a validator's message that a fault quotes; the message may quote a value of any length."""

STAGE_OF: Final = {"destinations": "DestinationMatch()"}
"""The stages that ship with a table of their own, by its name."""

_RESERVED: Final = frozenset({*FATES, "stages", "name"})
_ALLOWED_FATES: Final = (Fate.KEEP, Fate.RECHECK, Fate.EVICT)
_ANY: Final = reader_of(Any)


class StageKeys:
    """The tables of keys that the stages of a chain read from a service.

    Iterating gives the names of the tables, and ``"hours" in keys`` says whether a stage reads that table.
    """

    __slots__ = ("_by_class", "_by_key", "_otherwise")

    def __init__(self, classes: Iterable[type] = (), *, otherwise: str = "") -> None:
        """Check the classes. The same class may come several times.

        Args:
            classes: attrs classes that stages name as their `policy`.
            otherwise: the end of the fault of a table that none of them reads. By default it names their tables.

        Raises:
            ConfigurationError: ``policy = Hours must be an attrs class: write @attrs.frozen above it``. Also for a
                field without a default, a wrong fate, and a table whose name is taken.
        """
        self._by_class: dict[type, _Table] = {}
        self._by_key: dict[str, _Table] = {}
        for keys in classes:
            table = _Table(keys)
            other = self._by_key.setdefault(table.key, table)
            if other.keys is not keys:
                both = f"{_full_name(other.keys)} and {_full_name(keys)}"
                raise ConfigurationError(f"{both} would both be the table {table.key!r} of a service: rename one")
            self._by_class[keys] = table
        self._otherwise = otherwise

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the tables."""
        return iter(self._by_key)

    def __contains__(self, key: object) -> bool:
        return key in self._by_key

    def read(self, key: str, table: object, path: str) -> tuple[object | None, list[str]]:
        """Read a table that these keys contain, as `tomllib` or `json` give it.

        Args:
            key: the name of the table, one of these.
            table: its keys and values.
            path: of the table, as in ``services.shop.hours``.

        Returns:
            An instance of the class; None with the faults, each of which begins with its path.
        """
        return self._by_key[key].read(table, path)

    def unread(self, tables: Sequence[str], path: str) -> str:
        """Return the fault of tables of a service that no stage reads."""
        meant = () if tables[0] in STAGE_OF else (*self, *FATES)  # a stage that ships reads it, so it is no typo
        return f"{path} has no table {unknown_keys(tables, meant)}: {self._otherwise or self._why(tables)}"

    def faults(self, stages: object, path: str) -> Iterator[str]:
        """Check ``Policy.stages`` as a program made them.

        Args:
            stages: anything.
            path: of the service, as in ``services.shop``.

        Yields:
            ``services.shop.hours.since = 99: 'since' must be in range(0, 25)``.
        """
        if not isinstance(stages, tuple):
            yield f"{path}.stages = {quote(stages)} must be a tuple, as in stages=(Hours(8, 18),)"
            return
        seen = set()
        for each in stages:
            keys = type(each)
            table = self._by_class.get(keys)
            if table is None:
                yield f"{path}.stages: {self._unnamed(each)}"
            elif keys in seen:
                yield f"{path}.stages has two {keys.__name__}: a service has one"
            else:
                seen.add(keys)
                yield from table.faults(each, path)

    def _why(self, tables: Sequence[str]) -> str:
        """Say which stages would read tables that none of these reads, as far as that is known."""
        if shipped := [f"{STAGE_OF[table]} reads {table}" for table in tables if table in STAGE_OF]:
            return f"{', '.join(shipped)}: add it to the stages"
        if self._by_key:
            return f"stages read {', '.join(self._by_key)}"
        return "no stage names a class of keys, as in @te.decision(policy=Hours)"

    def _unnamed(self, value: object) -> str:
        if isinstance(value, type):
            return f"{value.__name__} is a class: write {value.__name__}(...)"
        names = ", ".join(keys.__name__ for keys in self._by_class) or "none"
        name = type(value).__name__
        return f"no stage of this edge has policy = {name}; stages name: {names}"


def rechecked_keys(keys: type) -> frozenset[str]:
    """Return the keys of a class whose fate is ``recheck``, named as `changed_fields` names them: ``hours.until``."""
    return frozenset(
        f"{key_of(keys)}.{name}"
        for name, field in stage_fields(keys).items()
        if Fate(field.metadata.get("fate", Fate.KEEP)) is Fate.RECHECK
    )


@attrs.frozen
class _Field:
    """A key of a table; `shown` is False for ``attrs.field(repr=False)``, because no message may quote its value."""

    attribute: "attrs.Attribute[Any]"
    reader: Reader
    shown: bool

    def read(self, value: object) -> Any:
        """Return the value as the field has it; raises as a :class:`Reader` does."""
        try:
            return self.reader.read(value)
        except ConfigurationError:
            if self.shown:
                raise
        raise ConfigurationError(f" {size_fault(value) or f'must be {self.reader.wants}'}")

    def refused(self, value: object, error: BaseException) -> str:
        """Return the message of a validator as text that follows the name of the field."""
        return f" = {quote(value)}: {_message(error)}" if self.shown else " is refused"


class _Table:
    """One class of keys."""

    def __init__(self, keys: type) -> None:
        if not isinstance(keys, type):
            raise ConfigurationError(f"policy = {quote(keys)} must be an attrs class, not an instance")
        where = f"policy = {keys.__name__}"
        if not attrs.has(keys):
            raise ConfigurationError(f"{where} must be an attrs class: write @attrs.frozen above it")
        self.keys = keys
        self.key = key_of(keys)
        if not self.key:
            raise ConfigurationError(f"{where}: the name of a class is that of its table: use letters, as in Hours")
        if self.key in _RESERVED:
            raise ConfigurationError(f"{where}: every service has a key {self.key!r} already: rename the class")
        try:
            hints = get_type_hints(keys)
        except ENDS:
            raise
        except BaseException as error:
            raise ConfigurationError(f"{where}: its annotations cannot be read: {_message(error)}") from None
        self._fields = {name: _field(each, hints, where) for name, each in stage_fields(keys).items()}
        try:
            defaults_of(keys)
        except ENDS:
            raise
        except BaseException as error:
            raise ConfigurationError(f"{where}: {keys.__name__}() cannot be made: {_message(error)}") from None

    def read(self, table: object, path: str) -> tuple[object | None, list[str]]:
        if not isinstance(table, Mapping):
            return None, [f"{path} = {quote(table)} must be a table"]
        values, found = dict[str, Any](), list[str]()
        if unknown := [name for name in table if name not in self._fields]:
            there = ", ".join(self._fields)
            found.append(f"{path} has no key {unknown_keys(unknown, self._fields)}: there are {there}")
        for name, field in self._fields.items():
            if name in table:
                try:
                    values[name] = field.read(table[name])
                except ConfigurationError as error:
                    found.append(f"{path}.{name}{error}")
        try:
            made = self.keys(**values)
        except ENDS:
            raise
        except BaseException as error:
            return None, found + (self._refusals(values, path) or [f"{path}: {_message(error)}"])
        return (None, found) if found else (made, found)

    def _refusals(self, values: Mapping[str, Any], path: str) -> list[str]:
        """Return the faults of values that the class refuses alone; none if only several together are wrong."""
        found = []
        for name, value in values.items():
            try:
                self.keys(**{name: value})
            except ENDS:
                raise
            except BaseException as error:
                found.append(f"{path}.{name}{self._fields[name].refused(value, error)}")
        return found

    def faults(self, made: object, path: str) -> Iterator[str]:
        """Check an instance, which may have been changed since it was made, or whose class has no validators."""
        for name, field in self._fields.items():
            try:
                value = getattr(made, field.attribute.name)
            except ENDS:
                raise
            except BaseException as error:
                yield f"{path}.{self.key}.{name} cannot be read: {_message(error)}"
                continue
            try:
                field.read(value)
            except ConfigurationError as error:
                yield f"{path}.{self.key}.{name}{error}"
                continue
            try:
                if field.attribute.validator is not None:
                    field.attribute.validator(made, field.attribute, value)
            except ENDS:
                raise
            except BaseException as error:
                yield f"{path}.{self.key}.{name}{field.refused(value, error)}"


def _field(attribute: "attrs.Attribute[Any]", hints: Mapping[str, Any], where: str) -> _Field:
    if attribute.default is attrs.NOTHING:
        raise ConfigurationError(
            f"{where}: its field {attribute.name} has no default, and a service need not say it: give it one"
        )
    fate = attribute.metadata.get("fate", Fate.KEEP)
    if fault := choice_fault(fate, _ALLOWED_FATES):
        said = quote(fate.value if isinstance(fate, Fate) else fate)
        raise ConfigurationError(f"{where}: the fate {said} of its field {attribute.name} {fault}")
    # The annotation is that of the value which a converter returns, and says nothing about the value which it takes.
    reader = _ANY if attribute.converter is not None else reader_of(hints.get(attribute.name, attribute.type))
    return _Field(attribute, reader, bool(attribute.repr))


def _full_name(keys: type) -> str:
    return f"{keys.__module__}.{keys.__qualname__}"


def _message(error: BaseException) -> str:
    """Return the message of an exception in one line. A validator of attrs puts it before several other arguments."""
    said = error.args[0] if error.args and isinstance(error.args[0], str) else message_of(error)
    words = " ".join(said[: 2 * MAX_MESSAGE_LETTERS].split()) or type(error).__name__
    return words if len(words) <= MAX_MESSAGE_LETTERS else f"{words[:MAX_MESSAGE_LETTERS]}..."


NO_KEYS: Final = StageKeys()
"""For a chain whose stages name no class."""
