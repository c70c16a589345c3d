"""The sessions of one service that has a rate: what they carry, and which share of it each has.

Whoever brings it looks at most every tenth of a second: :meth:`RateGroup.observe`, then :meth:`RateGroup.share`. Both
are in short steps, and cost what the sessions that move cost: one that rests says when its bytes move again.
"""

from collections.abc import Callable, Generator
from math import inf
from typing import Final

from ...session.session import Session
from ...session.verdict import Reason
from .shares import Debt, Flow, divide

EACH: Final = 8
"""Sessions that are looked at in one step. It takes 50 µs."""

TOLERANCE: Final = 0.02
"""The part of a share by which it has to differ before the kernel is told."""

IDLE_TOLERANCE: Final = 0.1
"""The part of an equal share by which it has to differ before sessions that rest are told, for they may be many."""

RESET_SECONDS: Final = 0.1
"""What a session that was reset moved since the last look counts as if it had been paced for this long."""


class Member:
    """A session that has a rate, and its two flows; follows the session."""

    __slots__ = ("_group", "_moved", "_queued", "down", "session", "up")

    def __init__(self, group: "RateGroup", session: Session, shares: tuple[float, float]) -> None:
        self._group = group
        self._moved = session.bytes_down, session.bytes_up
        self._queued = 0, 0
        self.session = session
        self.down = Flow(shares[0], self._moved[0])
        self.up = Flow(shares[1], self._moved[1])

    def observe(self, seconds: float) -> bool:
        """Look at what the session moved, and say whether it wants anything; else it will say when it moves again.

        The kernel is asked only about a session that moved something, or that had something queued.
        """
        session = self.session
        moved, carrier = (session.bytes_down, session.bytes_up), session.carrier
        if carrier is not None and (moved != self._moved or any(self._queued)):
            self._queued = carrier.queued()
        self._moved = moved
        wants_down = self.down.observe(moved[0], self._queued[0], seconds)
        wants_up = self.up.observe(moved[1], self._queued[1], seconds)
        if wants_down or wants_up or any(self._queued):
            return True
        session.listen()
        return False

    def tell(self, down: float, up: float, tolerance: float = TOLERANCE) -> None:
        """Tell the kernel the session's shares, if they are others."""
        if _differs(down, self.down.share, tolerance) or _differs(up, self.up.share, tolerance):
            self.session.pace(down, up)
            self.down.share, self.up.share = down, up

    def moved(self) -> None:
        self._group.mark_active(self)

    def left(self) -> None:
        self._group.leave(self)


class RateGroup:
    """The sessions of one service, and what each direction owes."""

    __slots__ = (
        "_delivered", "_fresh", "_idle", "_mark_dirty", "_release", "active", "debts", "effective",
        "looked_at", "members", "rates",
    )  # fmt: skip

    def __init__(
        self,
        rates: tuple[float, float],
        now: float,
        mark_dirty: Callable[[], object],
        release: Callable[[Session], object],
    ) -> None:
        """Have no session yet.

        Args:
            rates: bytes a second down and up; infinity for no limit.
            now: seconds, of the clock that looks at it are timed by.
            mark_dirty: asks for a look at the next tick.
            release: told of a session that goes elsewhere, and so takes no part in these rates.
        """
        self._mark_dirty = mark_dirty
        self._release = release
        self.members: dict[Session, Member] = {}
        self.active: dict[Member, None] = {}
        """Those to look at."""
        self.debts = Debt(), Debt()
        self.rates = self.effective = rates
        """What there is to divide: less than `rates` while something is owed."""
        self._delivered = [0.0, 0.0]
        """Bytes down and up since the last look, also of those who came and went meanwhile."""
        self.looked_at = now
        self._fresh = False
        """What was delivered went in part at other rates."""
        self._idle = 0.0, 0.0
        """The shares that those who rest were told."""

    def enter(self, session: Session, rates: tuple[float, float], count: int) -> None:
        """Let a session in with the equal share of so many."""
        if rates == self.rates:
            rates = self.effective
        shares = rates[0] / count, rates[1] / count
        member = Member(self, session, shares)
        session.follow(member)
        self.members[session] = member
        session.pace(*shares)
        self.mark_active(member)

    def mark_active(self, member: Member) -> None:
        """Look at a session next time, which is soon."""
        self.active[member] = None
        self._mark_dirty()

    def leave(self, member: Member) -> None:
        """A session has ended or gone elsewhere: what it moved was the service's; its limits go."""
        session = member.session
        del self.members[session]
        self.active.pop(member, None)
        outcome = session.outcome
        seconds = inf if outcome is None or outcome.reason is Reason.FINISHED else RESET_SECONDS
        self._delivered[0] += member.down.end(session.bytes_down, seconds)
        self._delivered[1] += member.up.end(session.bytes_up, seconds)
        if outcome is None:
            self._release(session)
        self._mark_dirty()

    @property
    def owes(self) -> bool:
        """Whether it is ahead of its rates, or may be: what was delivered since the last look is not accounted for."""
        return any(self._delivered) or any(self.debts)

    def retune(self, rates: tuple[float, float]) -> None:
        """Let other rates hold; what went at the old ones is no debt."""
        self.rates = self.effective = rates
        self.debts = Debt(), Debt()
        self._fresh = True

    def observe(self, now: float) -> Generator[None, None, list[Member]]:
        """Look at those whose bytes move, account for what was delivered, and give those who were looked at.

        One that is closed in the middle has lost nothing: those who were not looked at still wait for it.
        """
        seconds, self.looked_at = now - self.looked_at, now
        observed: list[Member] = []
        delivered = self._delivered
        for number, member in enumerate(tuple(self.active)):
            if member.session in self.members:  # else it has left since
                if not member.observe(seconds):
                    del self.active[member]
                observed.append(member)
                delivered[0] += member.down.delivered
                delivered[1] += member.up.delivered
            if number % EACH == 0:
                yield
        if self._fresh:
            seconds, self._fresh = inf, False
        (down, up), rates = self.debts, self.rates
        self.effective = down.settle(delivered[0], rates[0], seconds), up.settle(delivered[1], rates[1], seconds)
        self._delivered = [0.0, 0.0]
        return observed

    def share(self, members: list[Member]) -> Generator[None, None, None]:
        """Tell these their shares, and those who rest theirs if an equal share is another now."""
        count = len(self.members)
        down = yield from divide(self.effective[0], (member.down.demand for member in members), count)
        up = yield from divide(self.effective[1], (member.up.demand for member in members), count)
        for number, member in enumerate(members):
            if member.session in self.members:
                member.tell(down.share(member.down.demand), up.share(member.up.demand))
            if number % EACH == 0:
                yield
        idle = self.rates[0] / count, self.rates[1] / count
        if any(_differs(new, old, IDLE_TOLERANCE) for new, old in zip(idle, self._idle, strict=True)):
            self._idle = idle
            for number, member in enumerate(tuple(self.members.values())):
                if member not in self.active and member.session in self.members:
                    member.tell(*idle, IDLE_TOLERANCE)
                if number % EACH == 0:
                    yield


def _differs(new: float, old: float, tolerance: float) -> bool:
    return new != old and (new == inf or old == inf or abs(new - old) > tolerance * old)
