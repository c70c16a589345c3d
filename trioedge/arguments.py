"""Checks of values that users write: numbers, counts, choices and keys, each with one message.

A function ``..._fault`` describes the fault of a value, to be put behind its name; "" for a good value. The
functions ``check_...`` raise the same text for an argument.
"""

import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial, wraps
from math import inf
from typing import Any, Final, TypeGuard

from .errors import ConfigurationError, quote

MAX_NUMBER: Final = 2**63 - 1
"""TOML promises no larger integer, and every number up to it has a float."""

MAX_TEXT_LETTERS: Final = 1_000
"""Of one value. To find the fault of a text of half a mebibyte takes 50 ms."""

MAX_UNKNOWN_KEYS: Final = 3
"""Unknown keys of one table that are named; the others are counted."""


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether `value` is an integer or a float. A bool is neither."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole_number(value: object) -> TypeGuard[int]:
    """Return whether `value` is an integer. A bool is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def number_fault(value: Any, *, above: float | None = None, minimum: float = 0, maximum: float = MAX_NUMBER) -> str:
    """Describe the fault of a number.

    Args:
        value: the value as written.
        above: the number must be larger; None to go by `minimum`.
        minimum: the smallest good number.
        maximum: the largest good number; the message names it where it is below :data:`MAX_NUMBER`.
    """
    # Called for every value of every service, so it does not call `is_number`.
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and value <= maximum and (value >= minimum if above is None else value > above):
        return ""
    low = f"of at least {minimum:g}" if above is None else f"above {above:g}"
    return f"must be a number {low}" + (f" and at most {maximum:g}" if maximum < MAX_NUMBER else "")


def count_fault(value: object, *, minimum: int = 1, maximum: int = MAX_NUMBER) -> str:
    """Describe the fault of a whole number from `minimum` to `maximum`."""
    if isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum:
        return ""
    bounds = f"from {minimum} to {maximum}" if maximum < MAX_NUMBER else f"of at least {minimum}"
    return f"must be a whole number {bounds}"


def flag_fault(value: object) -> str:
    """Describe the fault of a bool."""
    return "" if isinstance(value, bool) else "must be true or false"


def choice_fault(value: object, choices: Collection[str]) -> str:
    """Describe the fault of a text that must be one of `choices`."""
    return "" if value in choices else f"must be {' or '.join(repr(str(each)) for each in choices)}"


def size_fault(value: object) -> str:
    """Describe the fault of the size of a text or a number, which is then too large even to be quoted."""
    if isinstance(value, str):
        return f"has more than {MAX_TEXT_LETTERS:,} letters" if len(value) > MAX_TEXT_LETTERS else ""
    if isinstance(value, int) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        return "has more than 64 bits"
    return ""


def unknown_keys(unknown: Sequence[object], known: Iterable[str]) -> str:
    """Name the first unknown keys of a table, and the known key that was probably meant by the first one.

    Args:
        unknown: at least one key.
        known: the keys that there are.

    Returns:
        ``'sinse' (did you mean since?), 'x' and 2 more``.
    """
    named = list(map(quote, unknown[:MAX_UNKNOWN_KEYS]))
    known = tuple(known)
    longest = max(map(len, known), default=0) + 5  # a longer key is no typo of any, and comparing takes its time
    meant = get_close_matches(str(unknown[0])[:longest], known, 1)  # takes 0.1 ms, so only the first is compared
    named[0] += f" (did you mean {meant[0]}?)" if meant else ""
    more = len(unknown) - MAX_UNKNOWN_KEYS
    return ", ".join(named) + (f" and {more:,} more" if more > 0 else "")


def check_number(
    owner: str, name: str, value: Any, *, above: float | None = None, minimum: float = 0, maximum: float = inf
) -> None:
    """Refuse an argument that is no number above `above`, or where that is None, none of at least `minimum`.

    Infinity is allowed, as a time that never ends, unless there is a `maximum`.

    Raises:
        ConfigurationError: ``SessionGate(rate=0) must be a number above 0``.
    """
    _refuse(owner, name, value, number_fault(value, above=above, minimum=minimum, maximum=maximum))


def check_count(owner: str, name: str, value: Any, *, minimum: int = 1, maximum: int = MAX_NUMBER) -> None:
    """Refuse an argument that is no whole number from `minimum` to `maximum`.

    Raises:
        ConfigurationError: ``SessionGate(burst=0) must be a whole number of at least 1``.
    """
    _refuse(owner, name, value, count_fault(value, minimum=minimum, maximum=maximum))


def check_flag(owner: str, name: str, value: Any) -> None:
    """Refuse an argument that is neither True nor False.

    Raises:
        ConfigurationError: ``Via(remote_names='no') must be true or false``.
    """
    _refuse(owner, name, value, flag_fault(value))


def check_text(owner: str, name: str, value: Any, *, maximum: int = MAX_TEXT_LETTERS) -> None:
    """Refuse an argument that is no text, or an empty one, or one of more than `maximum` letters.

    Raises:
        ConfigurationError: ``Greeting(line=3) must be text of 1 to 1,000 letters``.
    """
    fault = "" if isinstance(value, str) and 0 < len(value) <= maximum else f"must be text of 1 to {maximum:,} letters"
    _refuse(owner, name, value, fault)


def check_choice(owner: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse an argument that is none of `choices`.

    Raises:
        ConfigurationError: ``SessionGate(per='all') must be 'service' or 'source'``.
    """
    _refuse(owner, name, value, choice_fault(value, choices))


def is_async(value: object) -> bool:
    """Tell whether a value is an async function, an object that is called like one, or a partial of these."""
    while isinstance(value, partial):
        value = value.func
    return inspect.iscoroutinefunction(value) or (callable(value) and inspect.iscoroutinefunction(type(value).__call__))


def binds(function: Any, *arguments: object, **named: object) -> bool:
    """Tell whether a function can be called with these arguments; True if its signature is not known."""
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError:
        return False
    except ValueError:  # built-ins without a signature
        return True
    return True


def check_plain(where: str, function: object) -> None:
    """Refuse an async function where a decision calls it.

    Raises:
        ConfigurationError: ``Identify(by_device) is async, and a decision cannot wait: …``.
    """
    if is_async(function):
        name = getattr(function, "__name__", None) or quote(function)
        raise ConfigurationError(
            f"{where}({name}) is async, and a decision cannot wait: make it a plain def that answers from memory"
        )


class _Given:
    """The arguments of a constructor, which may be secret, so that a dump of the object does not show them."""

    __slots__ = ("arguments", "options")

    def __init__(self, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        self.arguments, self.options = arguments, options


class Fixed:
    """An object whose attributes cannot be set or deleted once it is made.

    Base of the recipes that ship: an edge copies the arguments of a recipe when it starts, so a later change would have
    no effect. A subclass may set attributes of its own in its ``__init__``.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        initialize = cls.__init__

        @wraps(initialize)
        def initialize_and_fix(self: Any, *arguments: Any, **options: Any) -> None:
            initialize(self, *arguments, **options)
            if type(self) is cls:
                vars(self)["_given"] = _Given(arguments, options)
                vars(self)["_is_fixed"] = True

        cls.__init__ = initialize_and_fix  # type: ignore[method-assign]  # of this class, to fix what it made

    def given(self) -> Mapping[str, Any]:
        """Give the arguments that it was made with, by name; those that were left out are missing."""
        given: _Given = vars(self)["_given"]
        return inspect.signature(type(self)).bind(*given.arguments, **given.options).arguments

    def __setattr__(self, name: str, value: object) -> None:
        self._check_unfixed(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._check_unfixed(name)
        super().__delattr__(name)

    def _check_unfixed(self, name: str) -> None:
        if "_is_fixed" in vars(self):
            kind = type(self).__name__
            raise AttributeError(f"{kind}.{name} cannot be set, because an edge may use this {kind}: make another one")


def _refuse(owner: str, name: str, value: object, fault: str) -> None:
    if fault:
        raise ConfigurationError(f"{owner}({name}={quote(value)}) {fault}")
