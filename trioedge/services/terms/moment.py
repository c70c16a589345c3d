"""Moments of the wall clock: seconds since 1970, or text as in RFC 3339."""

import re
from datetime import UTC, datetime
from typing import Final

from ...arguments import MAX_TEXT_LETTERS, number_fault
from ...errors import ConfigurationError, quote

LATEST: Final = 253_402_300_799
"""The last second of the year 9999. Milliseconds by mistake are later."""

_RFC_3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d+)?)([Zz]|[+-]\d\d:\d\d)")
_WITHOUT_OFFSET: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d:\d\d(\.\d+)?)?")


def moment_fault(value: object) -> str:
    """Describe the fault of a moment in seconds; "" for a good one."""
    if value == 0 and not isinstance(value, bool):
        return "is 1970: leave it out for a service that never expires"
    wrong = number_fault(value, above=0, maximum=LATEST)
    return f"must be seconds since 1970, up to {LATEST}, or text such as '2027-01-31T00:00:00Z'" if wrong else ""


def parse_moment(value: object) -> float:
    """Parse a moment.

    Args:
        value: text as in RFC 3339, such as ``2027-01-31T00:00:00Z`` or ``2027-01-31 02:00:00+02:00``; or a
            :class:`datetime.datetime` with a time zone.

    Returns:
        Seconds since 1970.

    Raises:
        ConfigurationError: ``'2027-01-31' says no time zone: write it whole, as in '2027-01-31T00:00:00Z'``.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigurationError(_zoneless(value.isoformat()))
        return value.timestamp()
    if isinstance(value, str) and len(value) <= MAX_TEXT_LETTERS:
        try:
            if found := _RFC_3339.fullmatch(value):
                day, time, zone = found.groups()
                return datetime.fromisoformat(f"{day}T{time}{zone.upper()}").timestamp()
        except ValueError as error:
            raise ConfigurationError(f"{quote(value)} is no time: {error}") from None
        if _WITHOUT_OFFSET.fullmatch(value):
            raise ConfigurationError(_zoneless(value))
    raise ConfigurationError(f"{quote(value)} {moment_fault(None)}")


def _zoneless(text: str) -> str:
    whole = f"{text[:10]}T{text[11:19] or '00:00:00'}Z"
    return f"{quote(text)} says no time zone: write it whole, as in {whole!r}"


def format_moment(seconds: float) -> str:
    """Format a moment in UTC: ``2027-01-31T00:00:00Z``. :func:`parse_moment` reads it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
