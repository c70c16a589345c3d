"""A pacer over sessions that a kernel in memory carries: it moves bytes at the rates that it is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import count
from math import inf
from typing import Any

import pytest
import trio

from tests.support.carriers import CountedCarrier
from tests.support.governed import Governed
from trioedge.loop.slices import Stepwise
from trioedge.services.service import Service
from trioedge.session.session import Session
from trioedge.session.verdict import Completed
from trioedge.stages.pacing.pacer import REST, TICK_SECONDS, Pacer
from trioedge.testing.context import StillClock

RATE = 1_000_000.0
STEP = 0.01
"""Seconds between two moves of the kernel."""

SOON = TICK_SECONDS + STEP
"""Seconds after which a change applies."""


def near(rate: float) -> object:
    return pytest.approx(rate, rel=0.04)


class TrioClock(StillClock):
    """The clock of the running test."""

    def refresh(self) -> float:
        self.now = trio.current_time()
        return self.now


class Line(CountedCarrier):
    """A session's carrier.

    Attributes:
        wants: bytes a second down and up that it moves if its shares allow it.
        excess: the factor by which its kernel exceeds a share.
    """

    def __init__(self, session: Session, wants: float, excess: float) -> None:
        super().__init__()
        self.session = session
        self.wants = wants, wants
        self.excess = excess

    @property
    def shares(self) -> tuple[float, float]:
        return self.session.down_rate, self.session.up_rate

    def move(self, down: int, up: int) -> None:
        """Move bytes, as a relay does."""
        self.bytes_down += down
        self.bytes_up += up
        service = self.session.service
        for meter, moved in ((service.down, down), (service.up, up)):
            if moved:
                meter.add(moved)
                if self.session.quiet:
                    self.session.wake()


class WatchedPacer(Pacer):
    """A pacer that checks its invariants after each step.

    Attributes:
        at: the services that it looked at, and when each look began.
        steps: the steps since the last look began.
    """

    def __init__(self, world: Governed, down_rate: float, up_rate: float) -> None:
        super().__init__(world.context, down_rate, up_rate)
        self.at: list[tuple[str, float]] = []
        self.steps = 0

    @property
    def groups(self) -> dict[str, int]:
        """How many sessions each group has, by the name of its service."""
        return {service.name: len(group.members) for service, group in self._groups.items()}

    def active(self, service: Service) -> list[Session]:
        """The sessions of a service that the next look looks at."""
        return [member.session for member in self._groups[service].active]

    @property
    def idle(self) -> bool:
        """Whether no service is to be looked at."""
        return not self._dirty and not self._looks

    @property
    def looks(self) -> list[str]:
        """The services at which a look has begun and not ended."""
        return [service.name for service in self._looks]

    def check(self) -> None:
        """Check what is true between any two steps."""
        assert self._looks.keys() == self._dirty._processing.keys(), "the services that are taken are looked at"
        for service, group in self._groups.items():
            assert group.members or group.owes or service in self._dirty, f"the group of {service} is of no use"
            for session, member in group.members.items():
                assert session._follower is member
                assert session.service is service
                assert session.outcome is None
                assert member in group.active or session.quiet, "it is silent, and will not notify"
            assert not group.active or service in self._dirty, f"{service} has active sessions, and is not looked at"

    def _turns(self) -> Stepwise[None]:
        with closing(super()._turns()) as steps:
            for _ in steps:
                self.steps += 1
                self.check()
                yield

    def _look(self, service: Service) -> Stepwise[None]:
        self.at.append((service.name, trio.current_time()))
        self.steps = 0
        return super()._look(service)


class PacedWorld(Governed):
    """Services, their live sessions, and the kernel.

    Attributes:
        lines: the carriers of the live sessions, oldest first.
    """

    def __init__(
        self, down_rate: float, up_rate: float, *, governed: bool, excess: float = 1.0, limits: Any = None
    ) -> None:
        super().__init__(governed=governed, clock=TrioClock(), limits=limits)
        self.pacer = WatchedPacer(self, down_rate, up_rate)
        self.lines: list[Line] = []
        self._excess = excess

    def decided(self, service: str = "shop") -> Session:
        """A session that the pacer has admitted and that is not registered yet."""
        session = self.session(service)
        self.pacer.decide(session)
        return session

    def open(self, service: str = "shop", *, wants: float = inf, line: type[Line] = Line) -> Line:
        """Open a live session."""
        session = self.decided(service)
        self.registry.add(session)
        session.carrier = carrier = line(session, wants, self._excess)
        self.lines.append(carrier)
        return carrier

    def close(self, line: Line) -> None:
        """End a live session in order."""
        self.lines.remove(line)
        self.registry.remove(line.session)
        assert line.session.end(Completed()) == []

    async def kernel(self) -> None:
        """Move the bytes of all lines, until cancelled."""
        while True:
            await trio.sleep(STEP if any(any(line.wants) for line in self.lines) else 1.0)
            for line in tuple(self.lines):
                down, up = (
                    int(min(1e9, wants, line.excess * share) * STEP)
                    for wants, share in zip(line.wants, line.shares, strict=True)
                )
                line.move(down, up)

    async def rates(self, seconds: float, *lines: Line) -> tuple[float, float]:
        """Measure what these lines, or all, move down and up, in bytes a second."""
        lines = lines or tuple(self.lines)
        before = [(line.bytes_down, line.bytes_up) for line in lines]
        began = trio.current_time()
        await trio.sleep(seconds)
        took = trio.current_time() - began
        moved = [(line.bytes_down - down, line.bytes_up - up) for line, (down, up) in zip(lines, before, strict=True)]
        return sum(down for down, _ in moved) / took, sum(up for _, up in moved) / took


@asynccontextmanager
async def open_paced(
    down_rate: float = RATE, up_rate: float = RATE / 2, *, governed: bool = False, excess: float = 1.0,
    limits: Any = None,
) -> AsyncIterator[PacedWorld]:  # fmt: skip
    """Run a pacer and a kernel for the length of the block."""
    world = PacedWorld(down_rate, up_rate, governed=governed, excess=excess, limits=limits)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.pacer.run)
        nursery.start_soon(world.kernel)
        yield world
        world.pacer.check()
        nursery.cancel_scope.cancel()


def whole_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every tick fit into one slice, because rests follow the machine's clock and not the test's."""
    monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", inf)


def one_step_a_slice(monkeypatch: pytest.MonkeyPatch, *, seconds: float = 1e-5, rest: float = REST) -> None:
    """Have every step take `seconds` and be a slice, with a rest on the test's clock after each."""
    moments = count()
    monkeypatch.setattr("trioedge.loop.slices.perf_counter", lambda: next(moments) * seconds)
    monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", seconds / 10)
    monkeypatch.setattr("trioedge.loop.slices.FEW_TURNS", -1)  # so many that the work rests
    monkeypatch.setattr("trioedge.stages.pacing.pacer.REST", rest)
