"""The services of users who log in at a worker, which the control process knows."""

from collections import OrderedDict
from typing import Final

import trio

from .messages.channel import Channel
from .messages.frames import ChannelError

USER_SECONDS: Final = 10.0
"""How long an answer is used; then the control process is asked again, and the old one used if it does not answer."""

ASK_SECONDS: Final = 2.0

MAX_USERS: Final = 10_000
"""Answers in memory, of unknown users as well; of more, the oldest are forgotten."""


class MemberUsers:
    """What a worker knows of the users of one edge."""

    def __init__(self, edge: str) -> None:
        """Know no user.

        Args:
            edge: its name.
        """
        self._edge = edge
        self._known: OrderedDict[str, tuple[str | None, float, int]] = OrderedDict()
        self._snapshots = 0  # answers to questions of before the last one may be wrong

    def is_known(self, user: str) -> bool:
        """Tell whether :meth:`service_of` knows an answer that is not too old."""
        known = self._known.get(user)
        return known is not None and known[2] == self._snapshots and trio.current_time() < known[1]

    def service_of(self, user: str) -> str | None:
        """Give the service of a user as the control process said last; None for one that is unknown."""
        known = self._known.get(user)
        return None if known is None else known[0]

    async def find(self, user: str, channel: Channel | None) -> None:
        """Ask the control process for the service of a user. Without an answer the last one stays.

        Args:
            user: as the client says.
            channel: to the control process; None if there is none.
        """
        if channel is None:
            return
        snapshots = self._snapshots
        try:
            service = await channel.ask("user", (self._edge, user), ASK_SECONDS)
        except ChannelError:
            return
        self._known.pop(user, None)
        self._known[user] = service, trio.current_time() + USER_SECONDS, snapshots
        if len(self._known) > MAX_USERS:
            self._known.popitem(last=False)

    def forget(self) -> None:
        """Have every user asked about again, because a snapshot may have changed them."""
        self._snapshots += 1
