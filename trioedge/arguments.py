"""What an argument may be, and the one message for what it may not."""

from typing import Any

from .errors import ConfigurationError


def check_number(owner: str, name: str, value: Any, *, above: float | None = None, least: float = 0) -> None:
    """Refuse what is not a number above `above`, or where that is None, not one of at least `least`.

    Raises:
        ConfigurationError: ``SessionGate(rate=0) must be a number above 0``.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (value >= least if above is None else value > above):
        bound = f"of at least {least:g}" if above is None else f"above {above:g}"
        raise ConfigurationError(f"{owner}({name}={value!r}) must be a number {bound}")


def check_count(owner: str, name: str, value: Any, *, least: int = 1, most: int | None = None) -> None:
    """Refuse what is not a whole number from `least` to `most`.

    Raises:
        ConfigurationError: ``SessionGate(burst=0) must be a whole number of at least 1``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        bound = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigurationError(f"{owner}({name}={value!r}) must be a whole number {bound}")


def check_choice(owner: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse what is not one of `choices`.

    Raises:
        ConfigurationError: ``SessionGate(per='all') must be 'service' or 'source'``.
    """
    if value not in choices:
        raise ConfigurationError(f"{owner}({name}={value!r}) must be {' or '.join(map(repr, choices))}")
