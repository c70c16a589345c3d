"""One line of an access log for each session, as JSON or as text.

Every line is printable ASCII, whatever a client sends. Values that a client or a stage chooses, such as devices and
destinations, are quoted as JSON quotes them, so no value can end a line or look like another field.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from .ends import SessionEnd
from .trace import refusing_stage

AccessFormat: TypeAlias = Literal["json", "text"]
Fields: TypeAlias = dict[str, str | int | float | None]

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:/@%+*\[\]()-]+")  # nothing that begins a quote, a field or a line
_encode: Final = json.JSONEncoder(ensure_ascii=True).encode


def fields(end: SessionEnd, offset: float, stages: Sequence[str]) -> Fields:
    """Give the fields of a session's line, in order.

    Args:
        end: how it ended.
        offset: from the edge's clock to the seconds of the epoch.
        stages: the names of the parts of the chain.
    """
    outcome = end.outcome
    ended_at = datetime.fromtimestamp(end.ended_at + offset, UTC)
    return {
        "time": ended_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "id": end.id,
        "outcome": "refused" if end.refused else "ended",
        "reason": outcome.reason.value,
        "listener": end.listener,
        "peer": end.peer,
        "source": end.source,
        "service": end.service,
        "device": end.device,
        "destination": end.destination,
        "upstream": None if end.upstream is None else str(end.upstream),
        "connect_ms": None if end.connected is None else round(end.connected * 1e3, 3),
        "bytes_up": end.bytes_up,
        "bytes_down": end.bytes_down,
        "seconds": round(end.seconds, 3),
        "stage": (refusing_stage(end.trace, stages) or None) if end.refused else None,
        "detail": outcome.detail or None,
    }


def as_json(line: Fields) -> str:
    """Write an object with every field; ``null`` for one without a value."""
    return _encode(line)


def as_text(line: Fields) -> str:
    """Write ``name=value`` of every field with a value; a value with other than plain letters is quoted as in JSON."""
    return " ".join(f"{name}={_word(value)}" for name, value in line.items() if value is not None)


FORMATS: Final[dict[str, Callable[[Fields], str]]] = {"json": as_json, "text": as_text}


def _word(value: str | float) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else _encode(text)


def sampled(number: int, part: float) -> bool:
    """Say whether the session of this number is in a sample: `part` of any run of numbers is, evenly spread.

    Args:
        number: the session's id.
        part: from 0 to 1.
    """
    return (number * 0x9E3779B1 & 0xFFFFFFFF) < part * 0x100000000
