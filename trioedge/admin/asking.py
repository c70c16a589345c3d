"""Questions to the processes that serve an edge: one where it serves alone, else every worker."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

import attrs

from ..loop.slices import Stepwise, in_slices
from .local import Local

Parameters: TypeAlias = Mapping[str, Any]
"""Checked parameters of an operation, by name."""

ANSWER_SECONDS: Final = 2.0
"""How long a worker may take to answer; the answer of the API goes without one that does not."""


@attrs.frozen(kw_only=True)
class WorkerFacts:
    """A process that serves the edge, as its parent knows it.

    Attributes:
        number: of the worker, from 0.
        pid: of its process.
        generation: how many restarts came before it.
        state: ``starting``, ``ready`` or ``draining``.
        stall_ms: how long its loop is silent; None where that is not known.
    """

    number: int
    pid: int
    generation: int = 0
    state: str = "ready"
    stall_ms: float | None = None


@attrs.frozen
class WorkerAnswer:
    """The answer of one process.

    Attributes:
        worker: the process.
        value: as JSON has it: texts, numbers, lists, and tables with texts as keys.
    """

    worker: WorkerFacts
    value: Any


@attrs.frozen
class Answers:
    """The answers of all processes.

    Attributes:
        given: by those that have answered, in the order of their numbers.
        missing: those that have not, within :data:`ANSWER_SECONDS`.
        past: to the question for statistics, the counts of processes that have not answered, or are over.
        seconds: how long the process that asks has served the edge; 0 where it asks itself.
        past_of: gives what such processes have said of a service: ``opened``, ``bytes_up`` and ``bytes_down``.
    """

    given: Sequence[WorkerAnswer]
    missing: Sequence[WorkerFacts] = ()
    past: Mapping[str, Any] = {}
    seconds: float = 0.0
    past_of: Callable[[str], Mapping[str, int]] = lambda _: {}

    @property
    def values(self) -> list[Any]:
        """The answers alone."""
        return [each.value for each in self.given]


class EdgeAsker(Protocol):
    """Asks every process that serves the edge."""

    async def ask(self, operation: str, parameters: Parameters, /) -> Answers:
        """Ask all of them at once.

        Args:
            operation: a name in :data:`~trioedge.admin.operations.LOCAL`.
            parameters: of it, with defaults filled in, as JSON has them.

        Returns:
            What each answered within :data:`ANSWER_SECONDS`.
        """


class NotingAsker:
    """Asks as another one does, and notes which workers have not answered.

    Attributes:
        missing: their numbers.
    """

    def __init__(self, asker: EdgeAsker) -> None:
        """Note none yet."""
        self._asker = asker
        self.missing: set[int] = set()

    async def ask(self, operation: str, parameters: Parameters, /) -> Answers:
        """See :meth:`EdgeAsker.ask`."""
        answers = await self._asker.ask(operation, parameters)
        self.missing.update(each.number for each in answers.missing)
        return answers


class LocalAsker:
    """Asks the one process that there is: this one."""

    def __init__(self, local: Local, table: Mapping[str, "Callable[[Local, Parameters], Stepwise[Any]]"]) -> None:
        """Ask nothing yet.

        Args:
            local: the edge in this process.
            table: answers operations by name.
        """
        self._local, self._table = local, table

    async def ask(self, operation: str, parameters: Parameters, /) -> Answers:
        """See :meth:`EdgeAsker.ask`; works in slices."""
        value = await in_slices(self._table[operation](self._local, parameters))
        state = {"serving": "ready"}.get(self._local.phase.value, self._local.phase.value)
        return Answers([WorkerAnswer(WorkerFacts(number=0, pid=os.getpid(), state=state), value)])
