"""Questions that every worker answers, and their answers."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from .life import Life
from .messages.channel import Channel
from .messages.frames import ChannelError

if TYPE_CHECKING:
    from ..telemetry.log import EdgeLog

ANSWER_SECONDS: Final = 2.0
"""For the answer of one worker to a question of an operator."""

MAX_ASKING: Final = 64
"""Questions of operators at a time; further ones wait."""


class WorkerAnswers(list[Any]):
    """The answers, in the order of the workers' numbers.

    Attributes:
        missing: the numbers of those that did not answer in time, or could not.
    """

    def __init__(self, answered: Iterable[tuple[int, Any]] = (), missing: Iterable[int] = ()) -> None:
        """Sort the answers.

        Args:
            answered: numbers of workers and their answers; the same number may come twice while an old worker drains.
            missing: numbers of the others.
        """
        ordered = sorted(answered, key=lambda each: each[0])
        super().__init__(answer for _, answer in ordered)
        self.missing = tuple(sorted(missing))


class WorkerQuestions:
    """Asks workers, a bounded number of questions at a time."""

    def __init__(self, workers: int, log: "EdgeLog") -> None:
        """Ask nothing yet.

        Args:
            workers: how many of one generation there should be.
            log: names the workers that do not answer.
        """
        self._workers, self._log = workers, log
        self._asking = trio.Semaphore(MAX_ASKING)

    async def ask(self, lives: Sequence[Life], edge: str, operation: str, params: object) -> WorkerAnswers:
        """Ask some workers at once, and return what each answered within 2 s.

        Args:
            lives: the workers that are connected.
            edge: its name.
            operation: as the workers' function knows it.
            params: any value of JSON.

        Returns:
            Their answers. Missing are also the numbers of the newest generation of which no worker is connected.
        """
        answered: list[tuple[int, Any]] = []
        missing: set[int] = set()

        async def ask_one(life: Life, channel: Channel) -> None:
            try:
                answer = await channel.ask("ask", (edge, operation, params), ANSWER_SECONDS)
            except ChannelError as error:
                missing.add(life.number)
                self._log.notice("worker does not answer", worker=life.number, operation=operation, error=str(error))
            else:
                answered.append((life.number, answer))

        async with self._asking, trio.open_nursery() as nursery:
            for life in lives:
                if life.channel is not None:
                    nursery.start_soon(ask_one, life, life.channel)
        newest = max((each.hello.generation for each in lives), default=0)
        present = {each.number for each in lives if each.hello.generation == newest}
        return WorkerAnswers(answered, missing | {*range(self._workers)} - present)
