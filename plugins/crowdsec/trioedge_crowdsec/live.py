"""The live stage: it asks the local API, keeps the bans, judges sessions, and cuts those that are banned.

The worker has two states; it begins as `unknown`:

| state | event | next | action |
| --- | --- | --- | --- |
| unknown | all decisions came | known | remove the other bans; after poll_seconds ask for changes |
| known | changes came | known | after poll_seconds ask for changes |
| known | changes came for the 360th time | unknown | after poll_seconds ask for all |
| known | a known id came with another address | unknown | ask for all at once: the local API has begun anew |
| any | no answer, or a bad one | unknown | keep what is there; after 1 to 30 s ask for all |

Decisions are applied while their answer arrives: one that is cut off leaves true bans behind, and nothing else.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from ipaddress import ip_address
from itertools import islice
from typing import Final

import trio
import trioedge as te

from .answer import PER_STEP
from .bans import Bans, Network
from .decisions import Ignored
from .errors import LapiError
from .lapi import Lapi
from .update import Update

CHANGES: Final = 360
"""Answers with changes, after which all decisions are asked for: an hour at 10 s."""

FIRST_RETRY_SECONDS: Final = 2.0
MAX_RETRY_SECONDS: Final = 30.0

_NOT_YET: Final = te.Reject(te.Reason.SOURCE, "crowdsec: its local API has not answered yet")


class LiveCrowdSec:
    """The bans of one run of one edge.

    Attributes:
        bans: those in force, and some that have ended.
        ignored: the reasons why decisions were left out, each of which the log has named once.
    """

    def __init__(
        self,
        context: te.EdgeContext,
        lapi: Lapi,
        *,
        poll_seconds: float,
        types: Collection[str],
        accept_until_ready: bool,
        cut_live: bool,
    ) -> None:
        self._context = context
        self._lapi = lapi
        self._poll_seconds = poll_seconds
        self._types = types
        self._cut_live = cut_live
        self._early = None if accept_until_ready else _NOT_YET
        """The verdict on every session before the first answer; None to ask the bans, also while there are none."""
        self.bans = Bans()
        self.ignored = set[Ignored]()
        self._fault: str | None = ""
        """Why there was no answer last time; None if there was one, empty before the first."""

    def decide(self, session: te.Session) -> te.Verdict:
        """Reject a banned source. Takes 0.2 µs, and 0.06 µs more for each prefix length that bans have."""
        return self._early or self.bans.judge(session.source_bytes, session.now)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Ask for decisions until cancelled; the edge does not wait for the first answer.

        After a cancel the bans stay as they are, and the connection is closed.
        """
        task_status.started()
        answers, retry_seconds = 0, 0.0  # since all decisions were asked for; 0 is the state `unknown`
        async with self._lapi.open():
            while True:
                try:
                    conflicts = await self._ask(startup=not answers)
                except LapiError as error:
                    self._failed(str(error))
                except Exception as fault:  # no fault of this stage ends the edge
                    self._context.log.fault("crowdsec crashed", fault)
                    self._failed(type(fault).__name__)
                else:
                    self._answered()
                    retry_seconds = 0.0
                    answers = 0 if conflicts or answers == CHANGES else answers + 1
                    await trio.sleep(0 if conflicts else self._poll_seconds)
                    continue
                answers = 0
                retry_seconds = min(max(2 * retry_seconds, FIRST_RETRY_SECONDS), MAX_RETRY_SECONDS)
                await trio.sleep(retry_seconds * random.uniform(0.5, 1))

    async def _ask(self, *, startup: bool) -> bool:
        """Ask once, apply the answer, and cut sessions that are banned now.

        Returns:
            Whether changes contradict what is known, so that all must be asked for.

        Raises:
            LapiError: there is no answer, or a bad one.
        """
        update = Update(self.bans, self._types, self._context.now)
        try:
            if startup:
                await self._lapi.ask({"new": update.add}, startup=True)
                await update.remove_others()
            else:
                await self._lapi.ask({"new": update.add, "deleted": update.remove}, startup=False)
        finally:
            self._tell(update.ignored)
        self._early = None
        if self._cut_live and update.fresh:
            await self._cut(update.fresh)
        return update.conflicts and not startup

    async def _cut(self, fresh: Sequence[Network]) -> None:
        """Cut the live sessions that are banned now.

        Args:
            fresh: the networks of new bans.
        """
        cut = 0
        for some in self._suspects(fresh):
            for session in some:
                verdict = self.decide(session)
                if isinstance(verdict, te.Reject) and session.cut(verdict.reason, verdict.detail):
                    cut += 1
                    await trio.lowlevel.checkpoint()  # to close a session takes some 50 µs
            await trio.lowlevel.checkpoint()
        if cut:
            self._context.log.say("crowdsec cut sessions", sessions=cut)

    def _suspects(self, fresh: Sequence[Network]) -> Iterator[Sequence[te.Session]]:
        """Give the live sessions that new bans may have: by their addresses, or where that is longer all, in steps."""
        sessions = self._context.sessions
        addresses = [each for each in fresh if isinstance(each, bytes)]
        if len(addresses) == len(fresh) < len(sessions):
            for address in addresses:
                yield sessions.matching(source=str(ip_address(address)))
            return
        live = iter(sessions)
        while some := list(islice(live, PER_STEP)):
            yield some

    def _tell(self, ignored: dict[Ignored, object]) -> None:
        """Name each reason why decisions are left out once, with an example."""
        for why, example in ignored.items():
            if why not in self.ignored:
                self.ignored.add(why)
                self._context.log.say("crowdsec decisions ignored", why=str(why), example=repr(example)[:200])

    def _answered(self) -> None:
        if self._fault is not None:
            self._context.log.say("crowdsec answers", url=self._lapi.url, decisions=len(self.bans))
        self._fault = None

    def _failed(self, fault: str) -> None:
        if fault != self._fault:
            self._context.log.notice("crowdsec failed", url=self._lapi.url, error=fault, decisions=len(self.bans))
        self._fault = fault
