"""The task of a session: its stages in one cancel scope and one guard, and its stream closed at the end.

| what a stage or the endpoint raises | the session ends with |
| --- | --- |
| ``trio.BrokenResourceError``: the client left | ``reset`` |
| any other exception, also one that is no ``Exception`` | ``fault``, logged |
| a cancel that was asked for | the reason of the cut, or ``drained`` |
| nothing, and leaves a cancel scope open | ``fault``, logged |
"""

from math import inf
from typing import Final

import trio

from ..errors import message_of, quote, quote_fault
from ..relay.stream_relay import close_hard
from ..relay.streams import PlainStream
from ..session.session import Session
from ..session.stage import Handler
from ..session.verdict import FINISHED, Completed, Outcome, Reason, Reject
from ..telemetry.observer import Observer, parted

_CUT: Final = Completed(Reason.DRAINED)


class SessionTask:
    """Runs the task of each session of one run of an edge."""

    def __init__(self, handle: Handler, log: Observer, *, graceful_refuse: bool) -> None:
        """Run no task yet.

        Args:
            handle: the stages behind the leading decisions, and the endpoint.
            log: logs faults.
            graceful_refuse: whether refused clients are closed in order, rather than with a reset.
        """
        self._stages = handle
        self._log = log
        self._graceful_refuse = graceful_refuse

    async def carry(self, session: Session) -> Outcome:
        """Run a session's stages in a cancel scope of its own; only a cancel from outside it goes on."""
        outcome: Outcome = _CUT
        try:
            with trio.CancelScope() as scope:
                session.scope = scope
                if session.cut_reason is not None:  # before its task began
                    scope.cancel()
                outcome = await self._handle(session)
            if session.cut_reason is not None:
                outcome = Completed(session.cut_reason)
        except BaseException as raised:
            stop, fault = parted(raised)
            if stop is not None and trio.current_effective_deadline() > -inf and _only_cancels(stop):
                stop, fault = None, raised  # a cancel of another scope, which a stage kept and raised again
            if fault is not None:
                outcome = self._fault(session, fault)
            if stop is not None:
                if fault is None:
                    raise
                raise stop from None
        return outcome

    async def close(self, session: Session, stream: trio.abc.HalfCloseableStream, outcome: Outcome) -> None:
        """Close the stream that was accepted, inside of those that middlewares put around it."""
        try:
            if outcome == FINISHED or (self._graceful_refuse and type(outcome) is Reject):
                await stream.aclose()
            elif isinstance(stream, PlainStream):
                stream.close_reset()
            else:
                await close_hard(stream)
        except BaseException as raised:
            stop, fault = parted(raised)
            if fault is not None:
                self._fault(session, fault)
            if stop is not None:
                if fault is None:
                    raise
                raise stop from None

    async def _handle(self, session: Session) -> Outcome:
        try:
            outcome = await self._stages(session)
        except trio.BrokenResourceError as error:  # the client left while a stage was talking to it
            return Completed(Reason.RESET, message_of(error))
        except BaseException as raised:
            stop, fault = parted(raised)
            if fault is None:
                raise
            ended = self._fault(session, fault)
            if stop is not None:  # a cancel, and what the clean-up of a stage raised meanwhile
                raise stop from None
            return ended
        if isinstance(outcome, (Completed, Reject)):
            return outcome
        return self._fault(
            session, TypeError(f"the endpoint returned {quote(outcome)}; it must return Completed or Reject")
        )

    def _fault(self, session: Session, fault: BaseException) -> Completed:
        self._log.fault("stage failed", fault, session=session.id, source=session.source)
        return Completed(Reason.FAULT, quote_fault(fault))


def _only_cancels(stop: BaseException) -> bool:
    rest = stop.split(trio.Cancelled)[1] if isinstance(stop, BaseExceptionGroup) else stop
    return rest is None or isinstance(rest, trio.Cancelled)
