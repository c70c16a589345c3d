"""Reads how long a server asks its clients to wait: ``Retry-After`` of RFC 9110 section 10.2.3, with 429 and 503."""

from datetime import UTC
from typing import Final

MAX_WAIT_SECONDS: Final = 300.0
"""Of one answer: a server that asks for more, by a mistake as a rule, is asked again after this."""

STATUSES: Final = frozenset({429, 503})
"""Too many requests (RFC 6585), and service unavailable: the answers that ask a client to come later."""


def wait_seconds(retry_after: str, date: str, now: float) -> float:
    """Return how many seconds to wait: 0 if the server does not say, or says it in no form of the standard.

    Args:
        retry_after: the header's value: seconds, or a date in any of the three forms that HTTP knows.
        date: the ``Date`` of the same answer, which the server wrote by the same clock; empty if there is none.
        now: the time in seconds since 1970, which is used where `date` cannot be.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:20]), MAX_WAIT_SECONDS)
    until = _read_date(text)
    if until is None:
        return 0.0
    said = _read_date(date)
    return min(max(until - (now if said is None else said), 0.0), MAX_WAIT_SECONDS)


def _read_date(text: str) -> float | None:
    """Return a date in seconds since 1970, or None if the text is none."""
    from email.utils import parsedate_to_datetime  # imported where it is used, because it is seldom

    try:
        read = parsedate_to_datetime(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
