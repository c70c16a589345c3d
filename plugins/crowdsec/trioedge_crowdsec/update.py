"""An answer of the local API, applied to the bans decision by decision."""

from collections.abc import Callable, Collection
from typing import Any

import trio

from .answer import PER_STEP
from .bans import MAX_BANS, Bans, Network
from .decisions import Ignored, read_ban, read_id


class Update:
    """One answer, while it is applied.

    Attributes:
        fresh: the networks of bans that were not there before.
        ignored: a decision that was left out, for each reason.
        last_id: the highest id of a ban in it.
        contradicts: whether a known id has another network now, or a new one is not above `above`. Both are so once the
            local API has a new database, whose ids begin at 1.
    """

    def __init__(self, bans: Bans, types: Collection[str], now: Callable[[], float], above: int = 0) -> None:
        """Begin with nothing applied.

        Args:
            bans: are changed.
            types: the types of decisions that are refused, in lower case.
            now: reads the edge's clock.
            above: ids of new bans are above this one, because a database counts up.
        """
        self._bans = bans
        self._types = types
        self._now = now
        self._above = above
        self._seen: set[int] = set()
        self.fresh: list[Network] = []
        self.ignored: dict[Ignored, Any] = {}
        self.last_id = above
        self.contradicts = False

    def add(self, decision: Any) -> None:
        """Apply a decision in force, whatever value of JSON it is."""
        ban = read_ban(decision, self._types, self._now())
        if isinstance(ban, Ignored):
            self.ignored.setdefault(ban, decision)
            return
        ban_id = read_id(decision)
        if ban_id is None:
            self.ignored.setdefault(Ignored.SHAPE, decision)
            return
        before = self._bans.get(ban_id)
        if before is None and len(self._bans) >= MAX_BANS:
            self.ignored.setdefault(Ignored.NUMBER, decision)
            return
        self._seen.add(ban_id)
        self._bans.put(ban_id, ban)
        self.last_id = max(self.last_id, ban_id)
        if before is None or before[0] != ban[0]:
            self.fresh.append(ban[0])
            self.contradicts |= before is not None or ban_id <= self._above

    def remove(self, decision: Any) -> None:
        """Apply a decision that was deleted or has ended."""
        ban_id = read_id(decision)
        if ban_id is not None:
            self._bans.remove(ban_id)

    async def remove_others(self) -> None:
        """Remove every ban that was not added by this update, in short steps."""
        for number, ban_id in enumerate(self._bans.ids(), 1):
            if ban_id not in self._seen:
                self._bans.remove(ban_id)
            if not number % PER_STEP:
                await trio.lowlevel.checkpoint()
