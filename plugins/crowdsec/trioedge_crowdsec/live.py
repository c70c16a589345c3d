"""The live stage: it asks the local API, keeps the bans, judges sessions, and cuts those that are banned.

The worker has two states; it begins as `unknown`:

| state | event | next | action |
| --- | --- | --- | --- |
| unknown | all decisions came | known | remove the other bans; after poll_seconds ask for changes |
| known | changes came | known | after poll_seconds ask for changes |
| known | changes came for the 360th time | unknown | after poll_seconds ask for all |
| known | changes came that contradict what is known | unknown | ask for all at once: it has a new database |
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
        self._fresh: list[Network] = []
        """The networks of bans whose live sessions are to be cut."""
        self._last_id = 0
        """The highest id of the last answer with all decisions."""
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
                anew, fault = False, None
                try:
                    anew = await self._ask(startup=not answers)
                except LapiError as error:
                    fault = str(error)
                except Exception as crash:  # no fault of this stage ends the edge
                    self._context.log.fault("crowdsec crashed", crash)
                    fault = type(crash).__name__
                self._note(fault)
                await self._cut()
                if fault is None:
                    retry_seconds = 0.0
                    answers = 0 if anew or answers == CHANGES else answers + 1
                    await trio.sleep(0 if anew else self._poll_seconds)
                else:
                    answers = 0
                    retry_seconds = min(max(2 * retry_seconds, FIRST_RETRY_SECONDS), MAX_RETRY_SECONDS)
                    await trio.sleep(retry_seconds * random.uniform(0.5, 1))

    async def _ask(self, *, startup: bool) -> bool:
        """Ask once, and apply the answer, or what came of it.

        Returns:
            Whether the local API has begun anew, so that all must be asked for.

        Raises:
            LapiError: there is no answer, or a bad one.
        """
        update = Update(self.bans, self._types, self._context.now, above=0 if startup else self._last_id)
        try:
            if startup:
                await self._lapi.ask({"new": update.add}, startup=True)
                await update.remove_others()
                self._last_id = update.last_id
            else:
                await self._lapi.ask({"new": update.add, "deleted": update.remove}, startup=False)
        finally:
            self._tell(update.ignored)
            if self._cut_live:
                self._fresh += update.fresh
        self._early = None
        return update.contradicts and not startup

    async def _cut(self) -> None:
        """Cut the live sessions that fresh bans have."""
        fresh, self._fresh = self._fresh, []
        cut = 0
        for some in self._suspects(fresh):
            for session in some:
                verdict = self.bans.judge(session.source_bytes, session.now)
                if isinstance(verdict, te.Reject):
                    cut += self._cut_one(session, verdict)
                    await trio.lowlevel.checkpoint()  # to close a session takes some 50 µs
            await trio.lowlevel.checkpoint()
        if cut:
            self._context.log.say("crowdsec cut sessions", sessions=cut)

    def _cut_one(self, session: te.Session, verdict: te.Reject) -> bool:
        """Cut a session; False if it has ended or is being cut already."""
        try:
            return session.cut(verdict.reason, verdict.detail)
        except Exception as fault:  # it costs this session, and neither the others nor the edge
            self._context.log.fault("crowdsec cut failed", fault, session=session.id)
            return False

    def _suspects(self, fresh: Sequence[Network]) -> Iterator[Sequence[te.Session]]:
        """Give the live sessions that fresh bans may have: by their addresses, or all where that is shorter."""
        sessions = self._context.sessions
        few = len(fresh) < len(sessions)
        addresses = [each for each in fresh if isinstance(each, bytes)] if few else []
        if len(addresses) == len(fresh):
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

    def _note(self, fault: str | None) -> None:
        """Log that the local API answers again, or why it does not, once for each reason."""
        if fault == self._fault:
            return
        self._fault = fault
        log, facts = self._context.log, {"url": self._lapi.url, "decisions": len(self.bans)}
        if fault is None:
            log.say("crowdsec answers", **facts)
        else:
            log.notice("crowdsec failed", error=fault, **facts)
