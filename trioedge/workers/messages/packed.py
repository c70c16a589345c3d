"""Settings of services as bytes, in short steps however long their lists are; and values that cannot be sent."""

import hashlib
import pickle
import sys
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final

from ...errors import ENDS, quote, quote_fault
from ...services.credentials import Credentials
from ...services.policy import DEFAULTS, FIELDS, Policy, Settings, key_of, stage_fields
from ...services.stage_keys import StageKeys

ENTRIES_PER_PIECE: Final = 1_024
"""Source entries of one piece; the lists of a service may have a million."""

MAX_KEYS_BYTES: Final = 1 << 20
"""Of the keys that the stages of one policy read; they are packed, and read, in one step of 5 ms at most."""

_LISTS: Final = ("accept", "reject")

_NAMES: Final = tuple((field.name, getattr(DEFAULTS, field.name)) for field in FIELDS)

SETTINGS_FORMAT: Final = hashlib.blake2b(
    repr((2, sys.version_info[:2], [name for name, _ in _NAMES])).encode(), digest_size=8
).hexdigest()
"""A name of the form of these bytes; a process of another version may have another one."""


def pack_settings(settings: Settings) -> Generator[None, None, list[bytes]]:
    """Write settings as one or more pieces, in short steps. About 5 µs for a service with short lists.

    Raises:
        Exception: a value cannot be pickled; :class:`SendableKeys` refuses snapshots with such values.
    """
    policy = settings.policy
    said = {name: value for name, default in _NAMES if (value := getattr(policy, name)) is not default}
    lists = [(name, said.pop(name)) for name in _LISTS if len(getattr(policy, name)) > ENTRIES_PER_PIECE]
    pieces = [_dump((said, policy.stages, settings.credentials.password_hash))]
    for name, entries in lists:
        for start in range(0, len(entries), ENTRIES_PER_PIECE):
            yield
            pieces.append(_dump((name, entries[start : start + ENTRIES_PER_PIECE])))
    return pieces


def unpack_settings(pieces: Sequence[bytes]) -> Generator[None, None, Settings]:
    """Read what :func:`pack_settings` wrote, in short steps."""
    said, stages, password_hash = pickle.loads(pieces[0])
    lists: dict[str, list[str]] = {}
    for piece in pieces[1:]:
        yield
        name, entries = pickle.loads(piece)
        lists.setdefault(name, []).extend(entries)
    said.update((name, tuple(entries)) for name, entries in lists.items())
    return Settings(Policy(**said, stages=stages), Credentials(password_hash))


def _dump(value: object) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


class SendableKeys(StageKeys):
    """The keys of stages of an edge that several workers serve: their values are sent to other processes."""

    __slots__ = ()

    def faults(self, stages: object, path: str) -> Iterator[str]:
        """Check the values as :meth:`StageKeys.faults` does, and then whether they can be sent.

        Yields:
            ``services.shop.hours.since = <...> cannot be sent to the workers: …``.
        """
        wrong = [*super().faults(stages, path)]
        yield from wrong
        if not wrong and isinstance(stages, tuple):
            for each in stages:
                wrong.extend(_unsendable(each, path))
            yield from wrong
            size = 0 if wrong else len(_dump(stages))
            if size > MAX_KEYS_BYTES:
                yield (
                    f"{path} has {size:,} bytes of keys for stages, and at most {MAX_KEYS_BYTES:,} go to the workers: "
                    "have the stage read the rest from a file"
                )


def _unsendable(keys: Any, path: str) -> Iterator[str]:
    """Give the fault of a stage's keys that cannot be pickled, by the first field that cannot."""
    fault = _fault(keys)
    if not fault:
        return
    kind: Any = type(keys)
    path = f"{path}.{key_of(kind)}"
    for name, field in stage_fields(kind).items():
        value = getattr(keys, field.name)
        if wrong := _fault(value):
            said = f" = {quote(value)}" if field.repr else ""
            yield f"{path}.{name}{said} cannot be sent to the workers: {wrong}. Give it a value that can be pickled"
            return
    yield f"{path} cannot be sent to the workers: {fault}. Define its class at the top level of a module"


def _fault(value: object) -> str:
    try:
        pickle.loads(_dump(value))
    except ENDS:
        raise
    except BaseException as error:
        return quote_fault(error)
    return ""
