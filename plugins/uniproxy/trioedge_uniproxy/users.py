"""The users of a panel, read from its answer one by one, and as services of an edge.

A user is a service whose name is its `id`. The `uuid` is what the user logs in with, as name and as password; it is a
secret, so it is never quoted, and the service has only its hash.

Large answers are read in short steps. A user that has not changed keeps its settings, so the edge compares nothing.
"""

import json
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final

import attrs
import trioedge as te

from .errors import PanelError, shown

MAX_USERS: Final = 100_000
"""Of one node; the answer with more is refused."""

USERS_PER_STEP: Final = 32
"""Users that are read between two yields: half a millisecond."""

IDS_PER_STEP: Final = 1_024
"""Users that are looked up between two yields."""

BYTES_PER_MEGABIT: Final = 125_000

_DECODER: Final = json.JSONDecoder()
_BLANKS: Final = " \t\r\n"


@attrs.frozen
class User:
    """One user, as the panel describes it.

    Attributes:
        uuid: what it logs in with.
        speed: Mbit/s each way; 0 for no limit.
        devices: that may be online; 0 for no limit.
        settings: the service that an edge makes of it.
    """

    uuid: str = attrs.field(repr=False)
    speed: float
    devices: int
    settings: te.Settings = attrs.field(eq=False, repr=False)


@attrs.define(eq=False, repr=False)
class Users:
    """The users of one answer. All of this is made in short steps, because there may be 100,000.

    Attributes:
        by_id: each user.
        ids: the same by what they log in with.
        services: what an edge makes of them, by `id`.
        removed: the `id` of each user that the answer before had.
    """

    by_id: dict[str, User] = attrs.field(factory=dict)
    ids: dict[str, str] = attrs.field(factory=dict)
    services: dict[str, te.Settings] = attrs.field(factory=dict)
    removed: list[str] = attrs.field(factory=list)


def read_users(text: str, before: Users) -> Generator[None, None, Users]:
    """Read the answer to ``GET user``, in short steps.

    Args:
        text: JSON, ``{"users": [{"id": 7, "uuid": "…", "speed_limit": 8, "device_limit": 2}, …]}``.
        before: the users of the last answer.

    Returns:
        The users.

    Raises:
        PanelError: it is no such answer; the message names the user and the field.
    """
    found = Users()
    try:
        for number, entry in enumerate(_users_of(text)):
            if number >= MAX_USERS:
                raise PanelError(f"more than {MAX_USERS:,} users")
            uid, user = _read_user(f"users[{number}]", entry, before.by_id)
            if uid in found.by_id or user.uuid in found.ids:
                raise PanelError(f"users[{number}] has the id or the uuid of an earlier one")
            found.by_id[uid] = user
            found.ids[user.uuid] = uid
            found.services[uid] = user.settings
            if number % USERS_PER_STEP == 0:
                yield
    except (ValueError, RecursionError):
        raise PanelError("no JSON with a list of users") from None
    for number, uid in enumerate(before.by_id):
        if uid not in found.by_id:
            found.removed.append(uid)
        if number % IDS_PER_STEP == 0:
            yield
    return found


def _users_of(text: str) -> Iterator[Any]:
    """Give the elements of the list `users` of a JSON object one by one.

    Raises:
        ValueError: the text is no JSON, or no object with such a list.
    """
    there = False
    at = _expect(text, 0, "{")
    while True:
        key, at = _DECODER.raw_decode(text, _skip(text, at))
        at = _expect(text, at, ":")
        if key == "users":
            there = True
            at = _expect(text, at, "[")
            if text[_skip(text, at) : _skip(text, at) + 1] == "]":
                at = _expect(text, at, "]")
            else:
                while True:
                    entry, at = _DECODER.raw_decode(text, _skip(text, at))
                    yield entry
                    at = _skip(text, at)
                    if text[at : at + 1] != ",":
                        break
                    at += 1
                at = _expect(text, at, "]")
        else:
            _, at = _DECODER.raw_decode(text, _skip(text, at))
        at = _skip(text, at)
        if text[at : at + 1] != ",":
            break
        at += 1
    at = _expect(text, at, "}")
    if text[at:].strip(_BLANKS) or not there:
        raise ValueError("users")


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] in _BLANKS and at < len(text):
        at += 1
    return at


def _expect(text: str, at: int, mark: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != mark:
        raise ValueError(mark)
    return at + 1


def _read_user(path: str, entry: Any, before: Mapping[str, User]) -> tuple[str, User]:
    if not isinstance(entry, dict):
        raise PanelError(f"{path} is no object")
    uid, uuid = entry.get("id"), entry.get("uuid")
    if isinstance(uid, bool) or not isinstance(uid, (int, str)) or not str(uid).isalnum() or len(str(uid)) > 64:
        raise PanelError(f"{path}.id = {shown(uid)} is no number of a user")
    uid = str(uid)
    if not isinstance(uuid, str) or not uuid:
        raise PanelError(f"{path}.uuid is no text")
    speed = number_of(f"{path}.speed_limit", entry.get("speed_limit"))
    devices = int(number_of(f"{path}.device_limit", entry.get("device_limit")))
    last = before.get(uid)
    if last is not None and (last.uuid, last.speed, last.devices) == (uuid, speed, devices):
        return uid, last
    try:
        password_hash = te.hash_password(uuid, kind="sha256")
    except te.ConfigurationError:
        raise PanelError(f"{path}.uuid is no random secret of 22 to 1,024 letters") from None
    rate = max(speed * BYTES_PER_MEGABIT, 1.0) if speed else None
    policy = te.Policy(down_rate=rate, up_rate=rate, device_limit=devices or None)
    return uid, User(uuid, speed, devices, te.Settings(policy, te.Credentials(password_hash)))


def number_of(path: str, value: Any) -> float:
    """Read a limit of a panel's, which writes null, 0 or nothing for none, and sometimes a number as text.

    Raises:
        PanelError: it is no number of at least 0, or a thousand million or more.
    """
    try:
        number = 0.0 if value is None or value == "" else float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number < 1e9:
        raise PanelError(f"{path} = {shown(value)} is no number of at least 0")
    return number
