"""The members of a balanced destination, and which of them a session may go to.

Sessions go to the first of these tiers that has a member: those that are well or returning; backups that are; then
those that are ejected. So if no member is well, sessions are sent all the same: a wrong judgement must not take the
service down, and a connect that is refused costs nothing. Members that drain are in no tier.
"""

from collections.abc import Collection, Sequence
from math import inf
from typing import Generic, TypeVar

from .choice import Candidate, Choice
from .health import FIRST_SHARE, Health


class GroupMember(Candidate):
    """A member of a group.

    Attributes:
        name: its address, as text.
        full_weight: its weight when it is well.
        backup: whether it gets sessions only if no other member is well.
        health: of its connects and checks.
        draining: whether it gets no new sessions.
        opened: sessions that were sent to it so far.
        failed: connects to it that failed so far.
    """

    __slots__ = ("backup", "draining", "failed", "full_weight", "health", "name", "opened")

    def __init__(self, name: str, weight: float, health: Health, *, backup: bool = False) -> None:
        super().__init__(name, weight)
        self.name = name
        self.full_weight = weight
        self.backup = backup
        self.health = health
        self.draining = False
        self.opened = 0
        self.failed = 0


M = TypeVar("M", bound=GroupMember)


class Group(Generic[M]):
    """Chooses members; knows neither sockets nor clocks."""

    # `_tiers` has the members that a session may go to, the first tier first, none of them empty. It is right until
    # `_right_until`, unless a member's state changes: then `changed` is called.
    __slots__ = ("_choose", "_right_until", "_tiers", "members")

    def __init__(self, members: Sequence[M], choose: Choice) -> None:
        """Begin with members that are well.

        Args:
            members: at least one.
            choose: a policy of balancing.
        """
        self.members = members
        self._choose = choose
        self._tiers: list[list[M]] = []
        self._right_until = -inf

    def changed(self) -> None:
        """Look at the members anew before the next choice, because the state of one has changed."""
        self._right_until = -inf

    def choose(self, key: bytes, now: float, tried: Collection[M] = ()) -> M | None:
        """Choose the member for a session; None if all drain, or were tried.

        Args:
            key: of the client's source.
            now: the time in seconds.
            tried: members that the session has asked already.
        """
        if now >= self._right_until:
            self._look(now)
        for tier in self._tiers:
            left = [each for each in tier if each not in tried] if tried else tier
            if len(left) == 1:
                return left[0]
            if left:
                return self._choose(left, key)
        return None

    def has_other(self, now: float, tried: Collection[M]) -> bool:
        """Return whether a session that has asked some members could ask another one."""
        if now >= self._right_until:
            self._look(now)
        return any(each not in tried for tier in self._tiers for each in tier)

    def _look(self, now: float) -> None:
        well: list[M] = []
        backups: list[M] = []
        ejected: list[M] = []
        self._right_until = inf
        for each in self.members:
            if each.draining:
                continue
            share = each.health.share(now)
            each.weight = each.full_weight * (share or FIRST_SHARE)
            (ejected if not share else backups if each.backup else well).append(each)
            self._right_until = min(self._right_until, each.health.changes_at(now))
        self._tiers = [tier for tier in (well, backups, ejected) if tier]
