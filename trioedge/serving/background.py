"""Answers that handshakes await in the background, in tasks: few at a time, each for a bounded time."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from ..session.handshake import Background
from ..session.session import Session
from ..session.verdict import Reason, Reject
from ..telemetry.log import parted

MAX_RUNNING: Final = 256
"""Answers of one edge that are awaited at a time."""

MAX_OF_SOURCE: Final = 16
"""Those of one source: as many as a browser opens connections at once, before the first of them has logged in."""

ANSWER_SECONDS: Final = 10.0
"""The limit of one; then the handshake gets `trio.TooSlowError`."""


BUSY: Final = Reject(Reason.OVERLOAD, "too many handshakes await background answers")
"""The refusal of a session whose question cannot be asked."""


class TooManyAnswersError(Exception):
    """As many answers are awaited as may be, in all or for the source."""


class BackgroundAnswers:
    """The background answers of one run of an edge.

    Attributes:
        nursery: runs those of sessions without a task; set once it is open.
    """

    nursery: trio.Nursery

    def __init__(self, refresh: Callable[[], float]) -> None:
        """Await none yet; `refresh` brings the clock of sessions without a task up to date."""
        self._refresh = refresh
        self._running = 0
        self._of_source: Counter[bytes] = Counter()

    async def answer(self, session: Session, command: Background) -> Any:
        """Await an answer in the task of the caller.

        Raises:
            TooManyAnswersError: too many are awaited.
            trio.TooSlowError: it took longer than :data:`ANSWER_SECONDS`.
            BaseException: of the function.
        """
        self._enter(session.source_key)
        return await self._await(session.source_key, command)

    def ask(
        self, session: Session, command: Background, resume: Callable[[object, BaseException | None], None]
    ) -> trio.CancelScope | None:
        """Await an answer in a task of its own, and call `resume` with it, or with its exception.

        Returns:
            The scope that cancels it: `resume` is not called then. None if too many are awaited.
        """
        try:
            self._enter(session.source_key)
        except TooManyAnswersError:
            return None
        scope = trio.CancelScope()
        self.nursery.start_soon(self._run, scope, session.source_key, command, resume)
        return scope

    async def _run(
        self, scope: trio.CancelScope, source: bytes, command: Background,
        resume: Callable[[object, BaseException | None], None],
    ) -> None:  # fmt: skip
        answer: object = None
        stop: BaseException | None = None
        fault: BaseException | None = None
        try:
            with scope:
                try:
                    answer = await self._await(source, command)
                except BaseException as raised:
                    stop, fault = parted(raised)
                    if fault is None:
                        raise
                    if stop is not None:
                        raise stop from None
            if not scope.cancel_called:
                self._refresh()
                resume(answer, fault)
        finally:
            del stop, fault, resume  # a traceback has this frame: with them it would be a cycle

    async def _await(self, source: bytes, command: Background) -> Any:
        try:
            with trio.fail_after(ANSWER_SECONDS):
                answer = command.function(*command.args)
                if not isinstance(answer, Awaitable):
                    raise TypeError(f"{command} needs an async function, and this one is not: call it without a yield")
                return await answer
        finally:
            self._running -= 1
            self._of_source[source] -= 1
            if not self._of_source[source]:
                del self._of_source[source]

    def _enter(self, source: bytes) -> None:
        if self._running >= MAX_RUNNING or self._of_source[source] >= MAX_OF_SOURCE:
            raise TooManyAnswersError(f"{MAX_RUNNING} answers are awaited, or {MAX_OF_SOURCE} of one source")
        self._running += 1
        self._of_source[source] += 1
