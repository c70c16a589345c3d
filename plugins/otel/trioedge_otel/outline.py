"""The span of a session as plain data: its name, times, attributes and events.

Names are those of OpenTelemetry's semantic conventions where these have one, and begin with ``trioedge.`` elsewhere.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import trioedge as te

Value: TypeAlias = str | int
Event: TypeAlias = tuple[str, int, Mapping[str, Value]]
"""A name, a time in nanoseconds of the epoch, and attributes."""

NAME: Final = "session"
"""The name of each span: one for all, because backends group spans by it."""

FAILED: Final = frozenset({te.Reason.FAULT} | {reason for reason in te.Reason if reason.startswith("upstream_")})
"""The reasons of sessions whose span has the status error."""

CONNECTED: Final = "upstream connected"
"""The name of the event at which the upstream was connected."""


class Outline(NamedTuple):
    """A span that is not made yet.

    Attributes:
        starts_at: when the session was accepted, in nanoseconds of the epoch.
        ends_at: when it ended.
        attributes: by name.
        events: one for each stage that the session reached, and one for its upstream.
        error: the description of an error; None for a session that did not fail.
    """

    starts_at: int
    ends_at: int
    attributes: Mapping[str, Value]
    events: tuple[Event, ...]
    error: str | None


def outline_of(end: te.SessionEnd, batch: te.Batch) -> Outline:
    """Describe the span of one session; takes some 10 µs.

    Args:
        end: one of the sessions that ended.
        batch: the batch that has it.
    """
    ends_at = _nanoseconds(end.ended_at + batch.offset)
    starts_at = min(ends_at, _nanoseconds(end.ended_at - end.seconds + batch.offset))
    reason = end.outcome.reason
    failed = reason in FAILED
    host, port = place(end.listener)
    upstream, upstream_port = ("", 0) if end.upstream is None else place(str(end.upstream))
    said: dict[str, Value | None] = {
        "client.address": end.source,
        "network.peer.address": end.peer,
        "network.transport": "unix" if end.listener.startswith("unix:") else "tcp",
        "network.type": network_type(end.source),
        "server.address": host,
        "server.port": port or None,
        "destination.address": upstream or None,
        "destination.port": upstream_port or None,
        "error.type": reason.value if failed else None,
        "trioedge.session": end.id,
        "trioedge.service": end.service,
        "trioedge.device": end.device,
        "trioedge.destination": end.destination,
        "trioedge.outcome": "refused" if end.refused else "ended",
        "trioedge.reason": reason.value,
        "trioedge.detail": end.outcome.detail or None,
        "trioedge.bytes_up": end.bytes_up,
        "trioedge.bytes_down": end.bytes_down,
    }
    events = [*_stages(end, batch, starts_at, ends_at)]
    if end.connected is not None:
        events.append((CONNECTED, min(ends_at, starts_at + _nanoseconds(end.connected)), {}))
    attributes = {name: value for name, value in said.items() if value is not None}
    return Outline(
        starts_at, ends_at, attributes, tuple(events), (end.outcome.detail or reason.value) if failed else None
    )


def _stages(end: te.SessionEnd, batch: te.Batch, starts_at: int, ends_at: int) -> list[Event]:
    """Give an event for each stage that the session has passed, when it had passed it, and for the one that refused."""
    events: list[Event] = []
    at, refused = starts_at, False
    for name, took in zip(batch.stages, end.trace or (), strict=False):
        refused = took < 0
        spent = ~took if refused else took
        at = min(ends_at, at + spent)
        answer = "refuse" if refused else "continue"
        events.append((name, at, {"trioedge.answer": answer, "trioedge.nanoseconds": spent}))
    if end.refused and end.trace is not None and not refused and len(events) < len(batch.stages):
        # a middleware or the endpoint, whose time is not known
        events.append((batch.stages[len(events)], ends_at, {"trioedge.answer": "refuse"}))
    return events


@lru_cache(maxsize=1024)
def place(address: str) -> tuple[str, int]:
    """Give the host and the port of an address; the path and 0 of a local socket.

    Args:
        address: ``tcp://127.0.0.1:80``, ``tcp://[::1]:80``, ``unix:///run/edge.sock``.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "unix":
        return rest, 0
    host, _, port = rest.rpartition(":")
    return host.strip("[]"), int(port) if port.isdecimal() else 0


def network_type(source: str) -> str | None:
    """Give ``ipv4`` or ``ipv6`` for an IP address, and None for a client on a local socket."""
    if ":" in source:
        return "ipv6"
    return "ipv4" if "." in source else None


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
