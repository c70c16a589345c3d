"""A typed place for users' data: one value of each type."""

from collections.abc import ItemsView
from typing import Any, TypeVar

from ..errors import quote

T = TypeVar("T")


class State:
    """Values keyed by their own type, as in ``session.state[Login] = Login("ann")``.

    A stage that keeps something uses a class of its own as the key, so two stages never meet.
    """

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[type[Any], Any] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, kind: type[Any]) -> bool:
        return kind in self._values

    def __getitem__(self, kind: type[T]) -> T:
        """Give the value of this type.

        Raises:
            KeyError: no stage has stored one.
        """
        try:
            value: T = self._values[kind]
        except KeyError:
            name = getattr(kind, "__name__", kind)
            fault = f"no stage before has stored a {name}: add one that does, or write state.get({name})"
            raise KeyError(fault) from None
        return value

    def __setitem__(self, kind: type[T], value: T) -> None:
        """Store a value, in place of an earlier one of the same type.

        Raises:
            TypeError: `kind` is no class, or `value` is not an instance of it.
        """
        if not isinstance(kind, type):
            raise TypeError(f"state[{quote(kind)}] must be keyed by a class, as in state[Login] = Login()")
        if not isinstance(value, kind):
            raise TypeError(f"state[{kind.__name__}] = {quote(value)}: the value must be a {kind.__name__}")
        self._values[kind] = value

    def __delitem__(self, kind: type[Any]) -> None:
        del self._values[kind]

    def get(self, kind: type[T]) -> T | None:
        """Give the value of this type, or None."""
        return self._values.get(kind)

    def items(self) -> ItemsView[type[Any], Any]:
        """Give the types with their values, in the order in which they were first stored."""
        return self._values.items()
