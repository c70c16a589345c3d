"""The sessions of one service with a rate: what each delivers, and its share of the rate.

The pacer looks at a group at most every 0.1 s: :meth:`RateGroup.observe`, then :meth:`RateGroup.share`. Both run in
short steps and cost what the sessions whose bytes move cost. A silent session notifies its group of its next byte.

| a session is | event | then |
| --- | --- | --- |
| not in the group | enter | active |
| active | a look finds demand | active, with its fair share |
| active | a look finds no demand | silent |
| silent | a byte moves | active |
| silent | the equal share changes | silent, with that share |
| active or silent | it ends, or gets another service or follower | not in the group |
"""

from collections.abc import Callable, Generator
from math import inf
from typing import Final

from ...session.session import Session
from ...session.verdict import Reason
from .shared_rate import SharedRate
from .shares import Debt, Flow, divide

SESSIONS_PER_STEP: Final = 8
"""Sessions that are looked at in one step. A step takes 50 µs."""

TOLERANCE: Final = 0.02
"""The part by which a share must differ before the kernel is told."""

IDLE_TOLERANCE: Final = 0.1
"""The part by which an equal share must differ before silent sessions are told. There may be many of them."""

RESET_SECONDS: Final = 0.1
"""A session that was reset is charged for at most this time at its share, since the last look."""


class PacedSession:
    """One session of a group and its two flows; the follower of the session."""

    __slots__ = ("_group", "_moved", "_queued", "down", "session", "up")

    def __init__(self, group: "RateGroup", session: Session, shares: tuple[float, float]) -> None:
        self._group = group
        self._moved = session.bytes_down, session.bytes_up
        self._queued = 0, 0
        self.session = session
        self.down = Flow(shares[0], self._moved[0])
        self.up = Flow(shares[1], self._moved[1])

    def observe(self, seconds: float) -> bool:
        """Account for the bytes of a tick and return whether there is demand; if not, listen for the next byte.

        The kernel is asked only about a session that moved bytes, or had bytes queued.
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

    def apply(self, down: float, up: float, tolerance: float = TOLERANCE) -> None:
        """Tell the kernel the session's shares, if they differ enough."""
        if _differs(down, self.down.share, tolerance) or _differs(up, self.up.share, tolerance):
            self.session.pace(down, up)
            self.down.share, self.up.share = down, up

    def moved(self) -> None:
        self._group.mark_active(self)

    def left(self) -> None:
        self._group.leave(self)


class RateGroup:
    """The sessions of one service with a rate.

    Attributes:
        members: every session of the group.
        active: the members that the next look looks at.
        rates: the limits down and up, in bytes a second; infinity for none.
        effective: the rates to divide; below `rates` while there is a debt.
        shared: what this process has of the rates, if several serve the service; else None.
        looked_at: when the last look began, in seconds.
    """

    # A member is in `active`, or its session is quiet and puts it there at the next byte. `_delivered` is what members
    # and former members delivered since `_settled_at` and no debt was charged for yet.
    __slots__ = (
        "_debts", "_delivered", "_idle", "_mark_dirty", "_release", "_retuned", "_settled_at", "active", "effective",
        "looked_at", "members", "rates", "shared",
    )  # fmt: skip

    def __init__(
        self,
        rates: tuple[float, float],
        now: float,
        mark_dirty: Callable[[], object],
        release: Callable[[Session], object],
        shared: SharedRate | None = None,
    ) -> None:
        """Start without a session.

        Args:
            rates: bytes a second down and up; infinity for no limit.
            now: seconds, of the clock that :meth:`observe` is called with.
            mark_dirty: asks for a look at the next tick.
            release: called with a session that left the group and has not ended.
            shared: the part of this process, if several serve the service.
        """
        self.shared = shared
        self._mark_dirty = mark_dirty
        self._release = release
        self.members: dict[Session, PacedSession] = {}
        self.active: dict[PacedSession, None] = {}
        self.rates = self.effective = rates
        self.looked_at = self._settled_at = now
        self._debts = Debt(), Debt()
        self._delivered = [0.0, 0.0]  # bytes down and up
        self._retuned = False  # part of what was delivered went at other rates
        self._idle = 0.0, 0.0  # the shares of silent sessions

    def enter(self, session: Session, rates: tuple[float, float], count: int) -> None:
        """Add a session with an equal share, as one of `count` in this process."""
        if self.shared is not None:
            count += self.shared.elsewhere
        if rates == self.rates:
            rates = self.effective
        shares = rates[0] / count, rates[1] / count
        member = PacedSession(self, session, shares)
        session.follow(member)
        self.members[session] = member
        session.pace(*shares)
        self.mark_active(member)

    def mark_active(self, member: PacedSession) -> None:
        """Look at a session at the next tick."""
        self.active[member] = None
        self._mark_dirty()

    def leave(self, member: PacedSession) -> None:
        """Remove a session that has ended or has another service; its delivered bytes are charged to the group."""
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
        """Whether there is a debt, or bytes that may become one."""
        return any(self._delivered) or any(self._debts)

    def retune(self, rates: tuple[float, float]) -> None:
        """Have other rates; the bytes that went at the old ones are no debt."""
        self.rates = self.effective = rates
        self._debts = Debt(), Debt()
        self._retuned = True

    def observe(self, now: float) -> Generator[None, None, list[PacedSession]]:
        """Look at the active members, account for their bytes, and return those that were looked at.

        Closed before its end, it loses nothing: the next call looks at the other members, and charges for the whole
        time since the last call that came to its end.

        Args:
            now: seconds, later than :attr:`looked_at`.
        """
        seconds, self.looked_at = now - self.looked_at, now
        observed: list[PacedSession] = []
        delivered = self._delivered
        for number, member in enumerate(tuple(self.active)):
            if member.session in self.members:  # else it has left since
                if not member.observe(seconds):
                    del self.active[member]
                observed.append(member)
                delivered[0] += member.down.delivered
                delivered[1] += member.up.delivered
            if number % SESSIONS_PER_STEP == 0:
                yield
        seconds, self._settled_at = (inf if self._retuned else now - self._settled_at), now
        self._retuned = False
        (down, up), rates = self._debts, self.rates
        if self.shared is None:
            self.effective = down.settle(delivered[0], rates[0], seconds), up.settle(delivered[1], rates[1], seconds)
        else:
            self.shared.charge(now, self._debts, delivered, rates, forget=seconds == inf)
        self._delivered = [0.0, 0.0]
        return observed

    def claim(self, members: list[PacedSession], now: float) -> Generator[None, None, tuple[float, float]]:
        """Take this process's part of the rates, by the demands of these members and the debts.

        Returns:
            What there is to divide among the members, down and up.
        """
        if self.shared is None:
            return self.effective
        down, up = self.shared.counts()
        for number, member in enumerate(members):
            down.add(member.down.demand)
            up.add(member.up.demand)
            if number % SESSIONS_PER_STEP == 0:
                yield
        for count, debt in zip((down, up), self._debts, strict=True):
            count.owe(debt.bytes)
        active = max(len(self.active), any(self._debts))
        parts = self.shared.claim(now, self.rates, (down, up), active, len(self.members))
        left = self._debts[0].reduce(parts[0]), self._debts[1].reduce(parts[1])
        self.effective = _part(self.rates[0], left[0], parts[0]), _part(self.rates[1], left[1], parts[1])
        return left

    def share(self, members: list[PacedSession], now: float) -> Generator[None, None, None]:
        """Apply the shares of these members, and the equal share of silent ones if it has changed.

        Args:
            members: as :meth:`observe` returned them; the group has at least one session.
            now: seconds, at least :attr:`looked_at`.
        """
        left = yield from self.claim(members, now)
        count, shared = len(self.members), self.shared
        if not count:
            return  # all of them have left between two steps of the claim
        down = yield from divide(left[0], (member.down.demand for member in members), count)
        up = yield from divide(left[1], (member.up.demand for member in members), count)
        if shared is not None:
            count += shared.elsewhere
        equal = self.effective[0] / count, self.effective[1] / count
        for number, member in enumerate(members):
            if member.session in self.members:
                if shared is None:
                    member.apply(down.share(member.down.demand), up.share(member.up.demand))
                else:
                    member.apply(shared.share(0, down, equal[0], member.down), shared.share(1, up, equal[1], member.up))
            if number % SESSIONS_PER_STEP == 0:
                yield
        idle = self.rates[0] / count, self.rates[1] / count
        if any(_differs(new, old, IDLE_TOLERANCE) for new, old in zip(idle, self._idle, strict=True)):
            for number, member in enumerate(tuple(self.members.values())):
                if member not in self.active and member.session in self.members:
                    member.apply(*idle, IDLE_TOLERANCE)
                if number % SESSIONS_PER_STEP == 0:
                    yield
            self._idle = idle  # last, so that a division that is closed before is applied by the next


def _part(rate: float, left: float, part: float) -> float:
    """Reduce a rate as a debt reduces a part of it."""
    return rate * left / part if 0.0 < part < inf else rate


def _differs(new: float, old: float, tolerance: float) -> bool:
    return new != old and (new == inf or old == inf or abs(new - old) > tolerance * old)
