"""The classes around a session have all that its protocols name, so that a protocol and its classes change together."""

import pytest
import trio

from trioedge.endpoints.forwarding import PendingConnect
from trioedge.loop.reactor import Reactor
from trioedge.relay.socket_relay import Relay
from trioedge.relay.stream_relay import StreamRelay
from trioedge.services.registry import Registry
from trioedge.serving.sessions import EdgeHome
from trioedge.session.surroundings import Carrier, Clock, FaultLog, Follower, Home, Index, Scope
from trioedge.stages.pacing.rate_group import PacedSession
from trioedge.telemetry.log import EdgeLog
from trioedge.testing.context import StillClock


def members_of(protocol: type) -> set[str]:
    """Name the attributes and methods that a protocol asks for."""
    return {name for name in vars(protocol) if not name.startswith("_")} | set(protocol.__annotations__)


@pytest.mark.parametrize(
    ("protocol", "part"),
    [
        (Carrier, PendingConnect),
        (Carrier, Relay),
        (Carrier, StreamRelay),
        (Clock, Reactor),
        (Clock, StillClock()),
        (FaultLog, EdgeLog),
        (Follower, PacedSession),
        (Home, EdgeHome),
        (Index, Registry),
        (Scope, trio.CancelScope),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_a_part_has_every_member_of_its_protocol(protocol: type, part: object) -> None:
    members = members_of(protocol)
    assert members
    assert {name for name in members if not hasattr(part, name)} == set()
