"""Tell whether an object is an observer or the recipe of one, and open it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ..arguments import binds, is_async
from ..errors import ConfigurationError, quote
from ..session.kinds import KINDS, check_life, check_open, facts_of, name_of, open_recipe
from ..session.stage import Recipe
from .observer import Observer

if TYPE_CHECKING:
    from ..services.context import EdgeContext

MEND: Final = "it needs async observe(batch)"


def check_observers(observers: Any) -> tuple[object, ...]:
    """Check the observers of an edge; nothing is opened.

    Raises:
        ConfigurationError: names the one that is wrong, and the mend.
    """
    if isinstance(observers, (str, bytes)) or not isinstance(observers, Sequence):
        raise ConfigurationError(
            f"Edge(observers={quote(observers)}) must be a list of observers, as in observers=[{_example(observers)}]"
        )
    for number, observer in enumerate(observers, 1):
        check_observer(observer, f"observer {number} ({name_of(observer)})")
        if any(observer is other for other in observers[: number - 1]):
            raise ConfigurationError(f"observer {number} ({name_of(observer)}) is in the list twice: make two of it")
    return tuple(observers)


def _example(given: object) -> str:
    return f"{name_of(given)}(…)" if isinstance(given, (Recipe, Observer)) else "Count()"


def check_observer(observer: object, where: str) -> None:
    """Refuse an object that is neither an observer nor the recipe of one.

    Args:
        observer: from ``observers=[…]``.
        where: names it in messages.

    Raises:
        ConfigurationError: the message has the mend.
    """
    if isinstance(observer, type):
        raise ConfigurationError(f"{where} is a class, not an observer: call it, {observer.__name__}(...)")
    if not isinstance(observer, Recipe):
        _check_live(observer, where)
        return
    check_open(observer, where)
    if (kind := facts_of(observer, where).kind) in KINDS:
        raise ConfigurationError(f"{where} is a {kind}: move it into stages")


def open_observer(observer: object, context: "EdgeContext", where: str) -> Observer | None:
    """Open the recipe of an observer, or give None if it is off; any other observer is its own live observer.

    Args:
        observer: what :func:`check_observer` has accepted.
        context: the running edge.
        where: names it in messages.

    Raises:
        ConfigurationError: its ``open`` made no observer.
    """
    if not isinstance(observer, Recipe):
        return _check_live(observer, where)
    live = open_recipe(observer, context, where)
    return None if live is None else _check_live(live, f"{where}: open() returned {quote(live)}, which")


def _check_live(observer: object, where: str) -> Observer:
    if not isinstance(observer, Observer):
        raise ConfigurationError(f"{where} is no observer: {MEND}")
    observe: Any = observer.observe
    if not is_async(observe):
        raise ConfigurationError(f"{where}: observe() is not async: write async def observe(self, batch)")
    if not binds(observe, None):
        raise ConfigurationError(f"{where}: observe() must take the batch and nothing else")
    check_life(observer, where)
    return observer
