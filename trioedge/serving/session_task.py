"""The task of a session: its stages in one cancel scope and one guard, and its stream closed at the end.

| what a stage or the endpoint raises | the session ends with |
| --- | --- |
| ``trio.BrokenResourceError``: the client left | ``reset`` |
| any other exception, also one that is no ``Exception`` | ``fault``, logged |
| a cancel that was asked for | the reason of the cut, or ``drained`` |
| nothing, and leaves a cancel scope open | ``fault``, logged |
"""

from contextlib import suppress
from math import inf
from typing import Final

import trio

from ..errors import message_of, quote, quote_fault
from ..loop.reactor import Reactor
from ..relay.direction import BROKEN
from ..relay.socket_relay import Ended
from ..relay.stream_relay import close_hard
from ..relay.streams import BareReplayStream, PlainStream
from ..session.session import Session
from ..session.stage import Handler
from ..session.surroundings import Home
from ..session.verdict import FINISHED, Completed, Outcome, Reason, Reject
from ..telemetry.log import EdgeLog, parted

_CUT: Final = Completed(Reason.DRAINED)


class SessionTasks:
    """Runs the tasks of the sessions of one run of an edge.

    Attributes:
        nursery: has them; set once it is open.
    """

    nursery: trio.Nursery

    def __init__(self, log: EdgeLog, reactor: Reactor, home: Home, settle: Ended, *, graceful_refuse: bool) -> None:
        """Run no task yet.

        Args:
            log: logs faults.
            reactor: counts the tasks that have not run yet.
            home: the edge as these sessions see it: its clock is read each time.
            settle: called once for each session, when its stream is closed.
            graceful_refuse: whether refused clients are closed in order, rather than with a reset.
        """
        self._log = log
        self._reactor = reactor
        self._home = home
        self._settle = settle
        self._graceful_refuse = graceful_refuse

    def start(self, session: Session, stream: PlainStream | BareReplayStream, handle: Handler) -> None:
        """Start the task of a registered session, which runs a part of the chain; its stream is closed at the end."""
        session.stream = stream
        session.live_in(self._home)
        self.nursery.start_soon(self._run, session, stream, handle, name="a session")
        self._reactor.starting += 1

    async def _run(self, session: Session, stream: PlainStream | BareReplayStream, handle: Handler) -> None:
        """Run a session's part of the chain in a cancel scope of its own; only a cancel from outside it goes on.

        Whatever its stages do, its stream is closed and it is settled.
        """
        # One coroutine, because one more would take a quarter of a kibibyte for as long as the session lives.
        self._reactor.starting -= 1
        outcome: Outcome = _CUT
        try:
            try:
                with trio.CancelScope() as scope:
                    session.scope = scope
                    if session.cut_reason is not None:  # before its task began
                        scope.cancel()
                    try:
                        outcome = self._checked(session, await handle(session))
                    except trio.BrokenResourceError as error:  # the client left while a stage was talking to it
                        outcome = Completed(Reason.RESET, message_of(error))
                    except BaseException as raised:
                        outcome = self._guard(session, raised)
                if session.cut_reason is not None:
                    outcome = Completed(session.cut_reason)
            except BaseException as raised:
                outcome = _CUT
                outcome = self._fault(session, raised) if _is_stray(raised) else self._guard(session, raised)
            finally:
                await self._close(session, stream, outcome)
        finally:
            self._settle(session, outcome)

    async def _close(self, session: Session, stream: trio.abc.Stream, outcome: Outcome) -> None:
        """Close the stream that was accepted; in order, and then the one around it too, if all went well."""
        try:
            if outcome == FINISHED or (self._graceful_refuse and type(outcome) is Reject):
                try:
                    if session.stream is not stream:
                        with trio.move_on_after(session.half_closed_seconds), suppress(*BROKEN):
                            await session.stream.aclose()  # the last words of TLS
                finally:
                    if isinstance(stream, PlainStream):
                        stream.close()
                    else:
                        await stream.aclose()
            elif isinstance(stream, PlainStream):
                stream.close_reset()
            else:
                await close_hard(stream)
        except BaseException as raised:
            self._guard(session, raised)

    def _checked(self, session: Session, outcome: object) -> Outcome:
        if isinstance(outcome, (Completed, Reject)):
            return outcome
        return self._fault(
            session, TypeError(f"the endpoint returned {quote(outcome)}; it must return Completed or Reject")
        )

    def _guard(self, session: Session, raised: BaseException) -> Completed:
        """Log the fault in an exception; raise the part of it, or all, that is a cancel or ends the process."""
        stop, fault = parted(raised)
        try:
            if fault is None:
                raise raised
            outcome = self._fault(session, fault)
            if stop is not None:  # a cancel, and what the clean-up of a stage raised meanwhile
                raise stop from None
            return outcome
        finally:
            del raised, stop, fault  # a traceback has this frame: with them it would be a cycle

    def _fault(self, session: Session, fault: BaseException) -> Completed:
        self._log.fault("stage failed", fault, session=session.id, source=session.source)
        return Completed(Reason.FAULT, quote_fault(fault))


def _is_stray(raised: BaseException) -> bool:
    """Tell whether it is a cancel of a scope that is not around the session's, kept by a stage and raised again."""
    stop, _ = parted(raised)
    if stop is None or trio.current_effective_deadline() == -inf:
        return False
    return parted(stop, (trio.Cancelled,))[1] is None
