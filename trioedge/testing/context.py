"""A context for the tests of stages that are opened, without a running edge."""

from typing import Any, cast

from ..loop.reactor import Reactor
from ..services.context import EdgeContext
from ..services.control_plane import ControlPlane
from ..services.registry import Registry
from ..services.services import Services
from ..serving.listening.rehearsed_listeners import RehearsedListeners
from ..session.meter import Total
from ..telemetry.log import EdgeLog
from ..upstreams.direct import Direct


class StillClock:
    """A clock that only a test moves, in place of an edge's reactor. Deadlines are stored and never called.

    Attributes:
        now: seconds.
        deadlines: the items that were set, and their times.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.deadlines: dict[int, tuple[Any, float]] = {}

    def refresh(self) -> float:
        """Give `now`."""
        return self.now

    def set_deadline(self, item: Any, due: float) -> int:
        """Store a deadline."""
        tick = max(self.deadlines, default=0) + 1
        self.deadlines[tick] = item, due
        return tick

    def drop_deadline(self, item: Any, tick: int) -> None:  # noqa: ARG002 - the reactor's shape
        """Cancel a deadline."""
        self.deadlines.pop(tick, None)


class _NoEdge:
    """The functions of an edge, each of which says that a running edge is needed."""

    async def relay(self, *_: Any) -> Any:
        raise RuntimeError("only a running edge relays, resolves, verifies and drains: use trioedge.testing.open_edge")

    resolve = verify = wait_draining = relay

    def recall(self, *_: Any) -> bool | None:
        raise RuntimeError("only a running edge knows passwords: use trioedge.testing.open_edge")

    def ask(self, *_: Any) -> None:
        raise RuntimeError("only a running edge resolves names: use trioedge.testing.open_edge")

    fresh_until: Any = ask

    def __init__(self) -> None:
        self.listeners = RehearsedListeners()


def make_context(*, now: float = 0.0, control: ControlPlane | None = None, relays: bool = True) -> EdgeContext:
    """Make a context to open a stage with, for a test without a running edge: ``SessionGate(5).open(make_context())``.

    It has no session, and no service but the unnamed one. Its clock stays at `now`; sessions have clocks of their own.

    Args:
        now: seconds.
        control: the control plane, for stages that depend on one.
        relays: whether the endpoint relays with the edge's relay.
    """
    services = Services(Total(), Total(), governed=control is not None)
    edge = _NoEdge()
    return EdgeContext(
        log=EdgeLog(),
        control=control,
        outbound=Direct(),
        relays=relays,
        reactor=cast(Reactor, StillClock(now)),
        resolver=edge,
        services=services,
        sessions=Registry(services),
        edge=edge,
    )
