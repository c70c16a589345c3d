"""Checks of a member: the edge connects to it as a session would, and may talk with it.

A check of a user's is a handshake in which the member is the other side: it sends to the member, and reads from there.
"""

from collections.abc import Callable
from math import inf

import trio

from ...addresses.address import UNIX_SOURCE
from ...addresses.source_prefix import SourcePrefix
from ...errors import quote_fault
from ...relay.direction import BROKEN
from ...relay.stream_relay import close_hard
from ...services.service import Service
from ...services.services import Services
from ...session.conversation import ChainedHandshake, Conversation
from ...session.handshake import Command, Handshake, Peek, Read, ReadUntil, Send
from ...session.kinds import facts_of, name_of
from ...session.meter import Total
from ...session.session import Session
from ...session.surroundings import Clock
from ...session.verdict import CONTINUE, Reason, Reject
from ...telemetry.log import EdgeLog, parted
from ..errors import UpstreamError
from ..upstream import Bounds, Upstream

_LEFT = "it left in the middle of its check"


class MemberCheck:
    """Asks members whether they are well."""

    def __init__(self, script: Handshake | None, seconds: float, clock: Clock, log: EdgeLog) -> None:
        """Ask no member yet.

        Args:
            script: talks with a member that accepts; None if a member that accepts is well.
            seconds: the limit of a check.
            clock: the edge's clock, which the script sees.
            log: logs the exceptions of the script.
        """
        self._seconds = seconds
        self._clock = clock
        self._log = log
        self._chained: ChainedHandshake | None = None
        if script is not None:
            name = name_of(script)
            facts = facts_of(script, f"check ({name})")
            self._chained = ChainedHandshake(
                name, script, min(facts.seconds, seconds), facts.max_bytes, lambda _: CONTINUE, last=False
            )
        self._services = Services(Total(), Total(), governed=False)

    async def ask(self, upstream: Upstream) -> UpstreamError | None:
        """Check a member; after a cancel nothing is left open.

        Returns:
            None if it is well, or why it is not.
        """
        try:
            stream = await upstream.open_stream(None, Bounds(self._seconds, retries=0))
        except UpstreamError as error:
            return error
        try:
            return None if self._chained is None else await self._judge(self._chained, upstream, stream)
        finally:
            await close_hard(stream)

    async def _judge(
        self, chained: ChainedHandshake, upstream: Upstream, stream: trio.abc.HalfCloseableStream
    ) -> UpstreamError | None:
        try:
            with trio.move_on_after(chained.seconds):
                return await self._talk(chained, upstream, stream)
        except BROKEN:
            return UpstreamError(Reason.UPSTREAM_UNREACHABLE, f"{upstream.destination}: {_LEFT}")
        except BaseException as raised:
            stop, fault = parted(raised)
            if fault is None:
                raise
            self._log.fault("check failed", fault, upstream=str(upstream.destination))
            if stop is not None:
                raise stop from None
            return UpstreamError(Reason.FAULT, f"{upstream.destination}: {quote_fault(fault)}")
        return UpstreamError(Reason.UPSTREAM_TIMEOUT, f"{upstream.destination}: no answer to its check in time")

    async def _talk(
        self, chained: ChainedHandshake, upstream: Upstream, stream: trio.abc.HalfCloseableStream
    ) -> UpstreamError | None:
        conversation = Conversation(chained, self._session(upstream), bytearray())
        try:
            command = conversation.begin()
            while command is not None:
                command = await _obey(command, conversation, stream)
        finally:
            conversation.close()
        verdict = conversation.verdict
        return UpstreamError(verdict.reason, verdict.detail) if isinstance(verdict, Reject) else None

    def _session(self, upstream: Upstream) -> Session:
        """Make the session that a script sees: its destination is the member, and it has no client."""
        home = _Home(self._clock, self._services.find)
        session = Session(0, "", UNIX_SOURCE, b"", 0, self._clock.now, self._services.unnamed, home)
        session.destination = str(upstream.destination)
        return session


class _Home:
    """The home of the session of a check."""

    source_prefix = SourcePrefix()

    def __init__(self, clock: Clock, find: Callable[[object], Service | Reject]) -> None:
        self.clock = clock
        self.find = find


async def _obey(command: Command, conversation: Conversation, stream: trio.abc.HalfCloseableStream) -> Command | None:
    if isinstance(command, Send):
        await stream.send_all(command.data)
        return conversation.resume(None)
    if not isinstance(command, Read | ReadUntil | Peek):
        raise TypeError(f"a check yielded {command!r}: it can send and read, and nothing else")
    seconds = command.seconds if isinstance(command, Peek) else None
    data = b""
    with trio.move_on_after(inf if seconds is None else seconds):
        data = bytes(await stream.receive_some(conversation.room))
    if data:
        return conversation.feed(data)
    if seconds is None:
        raise trio.BrokenResourceError(_LEFT)
    return conversation.give_up()
