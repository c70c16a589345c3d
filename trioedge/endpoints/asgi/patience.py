"""How long the edge waits for a client of HTTP, and for its application; pure.

| a session | is patient | from | and then |
| --- | --- | --- | --- |
| has had no request yet | `head_seconds` | its beginning | reset, ``idle`` |
| has no request under way | `keep_alive_seconds` | the client's host got the last response | close in order |
| has bytes for a client | `write_seconds`, at most its idle limit | the client took some | reset, ``idle`` |
| has a request under way | its idle limit, the shorter one if half-closed | a byte moved | reset, ``idle`` |
| has a request under way, and its client has left | :data:`GONE_SECONDS` | it left | ``reset`` |
| waits for a rate or for its allowance | | | nothing: the limit begins anew |
"""

from enum import Enum
from math import inf
from typing import Final

import attrs

GONE_SECONDS: Final = 5.0
"""Seconds that an application has to notice that its client left."""


class Wait(Enum):
    """The kind of wait that a session is in."""

    HEAD = "no request within {:g} s"
    KEEP_ALIVE = ""
    WRITE = "the client took no byte for {:g} s"
    REQUEST = "no byte for {:g} s"
    GONE = "the client left before it had its response"
    NONE = "none"


@attrs.frozen
class Patience:
    """The limits of an endpoint, in seconds.

    Attributes:
        head_seconds: for the first request of a session.
        keep_alive_seconds: for a further one.
        write_seconds: for a client that takes no byte.
    """

    head_seconds: float
    keep_alive_seconds: float
    write_seconds: float


@attrs.define
class Moment:
    """The state of a session at one time.

    Attributes:
        began_at: when it began.
        active_at: when a byte last moved, or was delivered.
        rested_at: when its last request was complete; None before its first one.
        busy: it has a request under way.
        owes: bytes for the client wait, because it takes none.
        paused: it waits for its rate or its allowance.
        over_at: when the client left; None before.
        idle_seconds: its idle limit now.
    """

    began_at: float
    active_at: float
    rested_at: float | None
    busy: bool
    owes: bool
    paused: bool
    over_at: float | None
    idle_seconds: float


def due(limits: Patience, moment: Moment, now: float) -> tuple[float, Wait, float]:
    """Give the time at which the session is ended, the wait that ends then, and its limit; infinity for never.

    Args:
        limits: of the endpoint.
        moment: of the session.
        now: seconds.
    """
    since = now if moment.paused else moment.active_at
    if moment.owes:
        limit = min(limits.write_seconds, moment.idle_seconds)
        return since + limit, Wait.WRITE, limit
    if moment.over_at is not None:
        return (moment.over_at + GONE_SECONDS, Wait.GONE, GONE_SECONDS) if moment.busy else (inf, Wait.NONE, inf)
    if moment.busy:
        return since + moment.idle_seconds, Wait.REQUEST, moment.idle_seconds
    if moment.rested_at is None:
        return moment.began_at + limits.head_seconds, Wait.HEAD, limits.head_seconds
    return moment.rested_at + limits.keep_alive_seconds, Wait.KEEP_ALIVE, limits.keep_alive_seconds
