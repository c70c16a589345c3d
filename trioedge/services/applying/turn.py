"""Snapshots in the order in which they were received, and what each of them takes away.

A snapshot takes away, at once and before its turn:

| it says | it takes away | unless |
| --- | --- | --- |
| ``enabled = false`` | the service, which refuses sessions | the value is something else than False |
| another `password_hash`, or none | the former password; no password is right until the snapshot is applied | the new \
one is no hash |
| `removed`, or in full and without the service | the service | the removal is refused, see :func:`removal_fault` |

Nothing else is needed to take these away: no other value of the snapshot is read, checked or compiled. Every other
change is granted or made with the whole snapshot, in its turn.
"""

from collections import deque
from collections.abc import Collection, Generator, Iterator, Sequence
from itertools import islice
from typing import Final

import attrs

from ..changes import ends_step
from ..credentials import Credentials, check_hash
from ..policy import Settings, is_settings
from ..services import Services
from ..snapshot import Snapshot, removal_fault

_NO_CREDENTIALS: Final = Credentials()


class Turn:
    """One snapshot, from the moment when it is received until it is applied, refused or given up.

    Attributes:
        snapshot: it.
        removes: whether its removals are applied; False until :meth:`judge` allows them.
        refusal: the fault of its removals; "" if they are allowed.
        over: whether it was applied, refused or given up.
        named: the settings that it has, by name.
    """

    __slots__ = ("named", "over", "refusal", "removes", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        """Read nothing yet.

        Args:
            snapshot: any snapshot; the values in its settings need not be right.
        """
        self.snapshot = snapshot
        self.removes = snapshot.allow_removal
        self.refusal = ""
        self.over = False
        named = snapshot.services
        self.named = named if isinstance(named, dict) else dict(named)  # the code of a mapping may raise, a dict not

    def omits(self, name: str) -> bool:
        """Return whether this snapshot removes a service, if its removals are allowed."""
        if name in self.named:
            return False  # also if it is in `removed`: that is a fault, and changes nothing
        return self.snapshot.full or name in self.snapshot.removed

    def leaves(self, name: str, before: Settings) -> Settings | None:
        """Return what this snapshot leaves of the settings of a service: `before` itself if it takes nothing away.

        Args:
            name: of the service.
            before: its settings.

        Returns:
            Settings that grant less; None for a service that is removed.
        """
        after = self.named.get(name)
        if after is None or after is before:
            return None if self.removes and self.omits(name) else before
        if not is_settings(after):
            return before
        policy, credentials = before.policy, before.credentials
        if after.policy.enabled is False and policy.enabled is not False:
            policy = attrs.evolve(policy, enabled=False)
        password_hash = credentials.password_hash
        if password_hash is not None and _replaces(after.credentials.password_hash, password_hash):
            credentials = _NO_CREDENTIALS
        if policy is before.policy and credentials is before.credentials:
            return before
        return Settings(policy, credentials)

    def judge(self, services: Services, ahead: "Sequence[Turn]") -> Generator[None, None, None]:
        """Allow its removals, or find their fault, in short steps.

        Args:
            services: as they are now.
            ahead: the snapshots whose turn comes earlier; they count as applied.
        """
        if self.removes:
            return
        if ahead:
            names: Collection[str] = yield from _expected(services, ahead)
        else:
            names = services.names
        removed = 0
        for number, name in enumerate(tuple(names) if self.snapshot.full else self.snapshot.removed):
            removed += self.omits(name) and name in names
            if ends_step(number):
                yield
        self.refusal = removal_fault(removed, len(names), none_left=removed == len(names) and not self.named)
        self.removes = not self.refusal

    def closes(self, services: Services) -> Iterator[str | None]:
        """Give the services that it names and takes something from, with None in between as places to stop."""
        for number, (name, after) in enumerate(self.named.items()):
            service = services.get(name)
            if service is not None and service.settings is not after:
                before = service.settings
                if self.leaves(name, before) is not before:
                    yield name
            if ends_step(number):
                yield None

    def gone(self, services: Services) -> Iterator[str | None]:
        """Give the services that it removes, once that is allowed, with None in between as places to stop."""
        names = tuple(services.names) if self.snapshot.full else self.snapshot.removed
        for number, name in enumerate(names if self.removes else ()):
            if self.omits(name) and name in services:
                yield name
            if ends_step(number):
                yield None


def _replaces(after: object, before: str) -> bool:
    """Return whether a value in the place of a password hash takes that away; a faulty one does not."""
    return after is None or (isinstance(after, str) and after != before and not check_hash(after))


def _expected(services: Services, ahead: Sequence[Turn]) -> Generator[None, None, dict[str, None]]:
    """Return the names of the services once the snapshots that come earlier are applied."""
    names: dict[str, None] = {}
    for number, name in enumerate(tuple(services.names)):
        names[name] = None
        if ends_step(number):
            yield
    for turn in ahead:
        for number, name in enumerate(tuple(names) if turn.removes else ()):
            if turn.omits(name):
                del names[name]
            if ends_step(number):
                yield
        for number, name in enumerate(turn.named):
            names[name] = None
            if ends_step(number):
                yield
    return names


class SnapshotTurns:
    """The snapshots that were received and are not over, in order."""

    # `_turns` has every snapshot that is not over, and those behind the first such one: what they took away may not be
    # granted by the snapshots before them.
    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: deque[Turn] = deque()

    def __len__(self) -> int:
        return len(self._turns)

    def receive(self, snapshot: Snapshot) -> Turn:
        """Add a snapshot behind all others."""
        turn = Turn(snapshot)
        self._turns.append(turn)
        return turn

    def end(self, turn: Turn) -> None:
        """Note that a snapshot was applied, refused or given up."""
        turn.over = True
        while self._turns and self._turns[0].over:
            self._turns.popleft()

    def ahead(self, turn: Turn) -> list[Turn]:
        """Give the snapshots before one that are not over; its turn comes when there are none."""
        return [each for each in islice(self._turns, self._turns.index(turn)) if not each.over]

    def behind(self, turn: Turn) -> Sequence[Turn]:
        """Give the snapshots after one, in order, also those that are over."""
        if self._turns[-1] is turn:  # nearly always, and this is asked for every service
            return ()
        return tuple(islice(self._turns, self._turns.index(turn) + 1, None))
