"""Exceptions whose own methods and fields raise: a stage of a user may raise them by mistake."""

from collections.abc import Callable
from typing import Any, Final


class PassesOnError(Exception):
    """Reads every field of it out of an object within, as a wrapper does, and the object has no such field."""

    def __getattr__(self, name: str) -> Any:
        return dict[str, Any]()[name]


class CauselessError(Exception):
    """Its cause raises."""

    __cause__ = property(lambda _: 1 // 0)


class ClasslessError(Exception):
    """Its class raises."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise LookupError("no class")


class _Unhashable(type):
    __hash__ = None  # type: ignore[assignment]


class UnhashableError(Exception, metaclass=_Unhashable):
    """Its class is no key."""


class PartlessGroup(BaseExceptionGroup[BaseException]):
    """Its parts raise, and no other group can be made of them."""

    exceptions = property(lambda _: 1 // 0)

    def derive(self, parts: Any) -> Any:
        raise LookupError("no group")


def wrong_line() -> Exception:
    """Make a SyntaxError whose text is a number, as a parser of a user may."""
    return SyntaxError("no", ("file", 1, 1, 5))  # type: ignore[arg-type]


ODD_FAULTS: Final[dict[str, Callable[[], BaseException]]] = {
    "reads its fields elsewhere": lambda: PassesOnError("no"),
    "cause raises": lambda: CauselessError("no"),
    "class raises": lambda: ClasslessError("no"),
    "class is no key": lambda: UnhashableError("no"),
    "parts raise": lambda: PartlessGroup("no", [ValueError("no")]),
    "text is no text": wrong_line,
}
