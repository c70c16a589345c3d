"""The fields `quota_bytes`, `quota_used` and `expires_at` of a policy: how text is read, and which values are wrong."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ...arguments import count_fault
from ...errors import ConfigurationError
from ..rates import parse_bytes
from .moment import moment_fault, parse_moment


def used_fault(value: object) -> str:
    """Describe the fault of a `quota_used`."""
    return count_fault(value, minimum=0)


def expiry_fault(value: object) -> str:
    """Describe the fault of an `expires_at`."""
    return "" if value is None else moment_fault(value)


def read_quota_bytes(value: int | str | None) -> int | None:
    """Read text such as ``50 GB``, and leave every other value as it is."""
    count: int | None = _read("quota_bytes", value, parse_bytes)
    return count


def read_quota_used(value: int | str) -> int:
    """Read text such as ``50 GB``, and leave every other value as it is."""
    count: int = _read("quota_used", value, parse_bytes)
    return count


def read_expires_at(value: float | str | datetime | None) -> float | None:
    """Read text such as ``2027-01-31T00:00:00Z``, or a datetime, and leave every other value as it is."""
    moment: float | None = _read("expires_at", value, parse_moment)
    return moment


def _read(name: str, value: Any, parse: Callable[[Any], Any]) -> Any:
    if not isinstance(value, (str, datetime)):
        return value
    try:
        return parse(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"Policy({name}=...): {error}") from None
