"""A session on its way from one worker to another: all that the other one has to know of it, without its socket."""

import pickle
from collections.abc import Mapping
from math import inf
from typing import Any, NamedTuple

from ...addresses.destination_rules import AddressRules
from ...services.service import Service
from ...session.session import Session
from ...session.surroundings import Home
from ...session.verdict import Reject


class HandedSession(NamedTuple):
    """The facts of a session behind one of its handshakes.

    Attributes:
        id: unique among the live sessions of the edge's workers, but for those of a worker that has died.
        listener: the address it was accepted on.
        peer: the address that connected.
        peer_bytes: the same, packed.
        source: the address that the handshake has named.
        source_port: its port.
        started_at: when it was accepted, in seconds of the monotonic clock, which all workers have in common.
        service: the name of its service; empty if a control plane names the services and no stage has yet.
        device: the name of its device, or None.
        destination: where it is to go, or None.
        rules: for the addresses of the destination's name.
        idle_seconds: its idle limit.
        half_closed_seconds: the same, once one side has finished.
        rates: bytes a second, down and up.
        state: users' values, by their types.
        trace: nanoseconds of the stages so far, or None.
        handshake: the number of the handshake that has ended.
        held: the client's bytes behind it that were read.
        family: of its socket.
    """

    id: int
    listener: str
    peer: str
    peer_bytes: bytes
    source: str
    source_port: int
    started_at: float
    service: str
    device: str | None
    destination: str | None
    rules: tuple[AddressRules, ...]
    idle_seconds: float
    half_closed_seconds: float
    rates: tuple[float, float]
    state: Mapping[type[Any], Any]
    trace: list[int] | None
    handshake: int
    held: bytes
    family: int


def may_leave(session: Session) -> bool:
    """Tell whether nothing ties a session to the worker that has accepted it.

    One is tied by a follower or an allowance, which are objects of a stage; by the listener of its service, which one
    worker has; and by its end, if it was refused or cut.
    """
    return (
        session.follower is None
        and session.allowance is None
        and not session.by_listener
        and session.refusal is None
        and session.cut_reason is None
        and session.outcome is None
    )


def packed(session: Session, handshake: int, held: bytes, family: int, offset: float) -> bytes:
    """Write a session that may leave.

    Args:
        session: the session.
        handshake: the number of the handshake that has ended.
        held: the client's bytes behind it that were read.
        family: of its socket.
        offset: seconds by which the edge's clock is ahead of the monotonic one.

    Raises:
        Exception: a value in its state cannot be pickled; which one is raised is that value's choice.
    """
    values = HandedSession(
        session.id, session.listener, session.peer, session.peer_bytes, session.source, session.source_port,
        session.started_at - offset, session.service.name, session.device, session.destination, session.address_rules,
        session.idle_seconds, session.half_closed_seconds, (session.down_rate, session.up_rate),
        dict(session.state.items()), session.trace, handshake, held, family,
    )  # fmt: skip
    return pickle.dumps((*values,), pickle.HIGHEST_PROTOCOL)  # without its class, which takes longer to be found


def unpacked(data: bytes | memoryview) -> HandedSession:
    """Read what :func:`packed` has written, in another process of the same program.

    Raises:
        Exception: a value in its state cannot be made again.
    """
    return HandedSession(*pickle.loads(data))  # of a worker that has the same parent


def restored(handed: HandedSession, number: int, offset: float, home: Home, unnamed: Service) -> Session:
    """Make the session again.

    Args:
        handed: the session.
        number: its id here.
        offset: seconds by which this edge's clock is ahead of the monotonic one.
        home: the edge.
        unnamed: the service of a session that no stage has named one for.

    Returns:
        A session that is not registered. It has a refusal if its service may have none here.
    """
    found = unnamed if handed.service == unnamed.name else home.find(handed.service)
    service = unnamed if isinstance(found, Reject) else found
    session = Session(
        number, handed.listener, handed.peer, handed.peer_bytes, 0, handed.started_at + offset, service, home
    )
    if isinstance(found, Reject):
        session.service = handed.service  # which keeps the refusal
    session.set_source(handed.source, handed.source_port)
    session.device = handed.device
    if handed.destination is not None:
        session.destination = handed.destination
    for rules in handed.rules:
        session.judge_addresses(rules)
    session.idle_seconds, session.half_closed_seconds = handed.idle_seconds, handed.half_closed_seconds
    if handed.rates != (inf, inf):
        session.pace(*handed.rates)
    for kind, value in handed.state.items():
        session.state[kind] = value
    if handed.trace is not None:
        session.begin_trace().extend(handed.trace)
    return session
