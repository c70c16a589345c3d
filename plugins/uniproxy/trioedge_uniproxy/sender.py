"""What a node tells the panel: bytes of users, addresses that are online, the load of the machine.

| a push | the bytes | because |
| --- | --- | --- |
| is acknowledged | are gone | the panel has counted them |
| finds no connection, or its answer is 3xx, 4xx or 503 | go with the next push | the panel has not counted them |
| has no answer, or one of another status | are dropped | the panel may have counted them, and would do so again |
| is cancelled | are dropped | the same |
"""

from collections.abc import Iterable
from typing import Final

import trio

from .books import Books
from .errors import PanelError
from .health import Health
from .machine import machine_status
from .panel import Delivery, Panel
from .places import Places

USERS_PER_REQUEST: Final = 2_000
"""Of more, the next request follows at once."""


class Sender:
    """Sends to one panel, one request at a time.

    Attributes:
        books: the bytes of users.
        places: the addresses that the panel knows from here.
    """

    def __init__(self, panel: Panel) -> None:
        """Have nothing to send."""
        self.books, self.places = Books(), Places()
        self._panel = panel
        self._one_at_a_time = trio.Lock()

    async def send(self, health: Health, present: Iterable[str], *, status: bool = True) -> None:
        """Push the bytes that are due, and tell which addresses are online.

        Args:
            health: of the run.
            present: users that have devices online, as far as the caller knows.
            status: whether to tell the load of the machine, too.
        """
        async with self._one_at_a_time:
            if not await self._push(health):
                return
            await self._tell_addresses(health, {*present, *(uid for uid, _ in self.books.live)})
            if status:
                await self._tell("status", machine_status(), health)

    async def clear(self, health: Health, uids: Iterable[str]) -> None:
        """Tell the panel to drop the addresses that an earlier run of this node may have told of these users."""
        async with self._one_at_a_time:
            self.places.suspect(uids)
            await self._tell_addresses(health, {uid for uid, _ in self.books.live})

    async def _push(self, health: Health) -> bool:
        """Push the bytes that are due; False if the panel does not answer, so that more requests are of no use."""
        while taken := self.books.take(USERS_PER_REQUEST):
            delivery = Delivery()
            try:
                await self._panel.post("push", taken, delivery)
            except PanelError as error:
                if delivery.possible:
                    up, down = (sum(each[way] for each in taken.values()) for way in (0, 1))
                    lost = f"it may have counted {up:,} bytes up and {down:,} down, so these are not sent again"
                    health.bad("push", f"{error}; {lost}")
                else:
                    self.books.give_back(taken)
                    health.bad("push", error)
                return error.status > 0
        health.good("push")
        return True

    async def _tell_addresses(self, health: Health, uids: Iterable[str]) -> None:
        there = {uid: health.link.online(uid) for uid in uids}
        addresses = self.places.to_tell({uid: devices for uid, devices in there.items() if devices})
        names = list(addresses)
        for start in range(0, len(names), USERS_PER_REQUEST):
            part = {uid: addresses[uid] for uid in names[start : start + USERS_PER_REQUEST]}
            acknowledged = await self._tell("alive", part, health)
            self.places.told(part, acknowledged=acknowledged)

    async def _tell(self, what: str, body: object, health: Health) -> bool:
        """Tell something that does no harm if it comes twice or not at all."""
        if health.lacks(what):
            return False
        try:
            await self._panel.post(what, body)
        except PanelError as error:
            health.bad(what, error)
            return False
        health.good(what)
        return True
