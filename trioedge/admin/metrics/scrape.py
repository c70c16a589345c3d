"""The answer to a scrape: what all processes have counted, as text."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final

import attrs
import trio

from ...endpoints.asgi.messages import Receive
from ...loop.slices import Stepwise, in_slices
from ..asking import Answers, EdgeAsker, Parameters, WorkerFacts
from ..controlling import Controlled
from ..http.responses import Response
from ..topics.services import collect_services
from . import catalogue as the
from .collect import OTHER, collect_control
from .families import Collection as Collected
from .families import Families, merged
from .kept import KeptCounters
from .text import CONTENT_TYPE, text_of

_ASKED_OF_CONTROL: Final = frozenset(each.name for each in (the.CHECKS_ASKED, the.CHECKS_FAILED, the.CHECKS))
"""What workers ask the control process, which asks the checker and counts that."""


@attrs.define
class Scrape:
    """Answers ``GET /metrics``.

    Attributes:
        asker: asks every process that serves the edge.
        controlled: the edge as a whole.
        services: how many of the busiest services have samples of their own; 0 for no samples of services.
        errors: how often the API answered each status of an error.
        beside: gives the families of the process that answers, where it is not one of those that are asked.
    """

    asker: EdgeAsker
    controlled: Controlled
    services: int = 0
    errors: Mapping[int, int] = attrs.field(factory=dict)
    beside: Callable[[], Stepwise[Families]] | None = None
    _kept: KeptCounters = attrs.field(factory=KeptCounters, init=False)
    _one_at_a_time: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def answer(self, parameters: Parameters, receive: Receive) -> Response:
        """Ask all processes, and write what they have counted, in slices."""
        names = await self._busiest() if self.services else None
        answers = await self.asker.ask("metrics", {"services": names})
        async with self._one_at_a_time:
            return Response(await in_slices(self._text(answers)), kind=CONTENT_TYPE)

    async def _busiest(self) -> Collection[str]:
        """Name the services with most sessions and with most bytes, half of them each."""
        names: dict[str, None] = {}
        page = {"prefix": None, "after": None}
        for order, limit in (("live", self.services // 2), ("bytes", self.services)):
            found = await collect_services(self.asker, {**page, "order": order, "limit": limit}) if limit else {}
            for item in found.get("items", ()):
                if len(names) < (limit if order == "live" else self.services):
                    names[item["name"]] = None
        return [name for name in names if name != OTHER]

    def _text(self, answers: Answers) -> Stepwise[list[bytes]]:
        given = {_process(each.worker): each.value for each in answers.given}
        each = yield from self._kept.complete(given, frozenset(map(_process, answers.missing)) - given.keys())
        if self.beside is not None:
            each = [{name: family for name, family in one.items() if name not in _ASKED_OF_CONTROL} for one in each]
            each.append((yield from self.beside()))
        each.append(self._own(answers))
        return (yield from text_of((yield from merged(each))))

    def _own(self, answers: Answers) -> Families:
        """Give what is known here alone."""
        found = Collected()
        collect_control(found, self.controlled.state(), trio.current_time())
        states = Counter(each.worker.state for each in answers.given)
        states["missing"] += len(answers.missing)
        for state, count in states.items():
            found.add(the.WORKERS, count, state)
        found.add(the.WORKER_DEATHS, 0)  # the control process of several adds its own
        for status, count in self.errors.items():
            found.add(the.ADMIN_ERRORS, count, str(status))
        return found.families


def _process(worker: WorkerFacts) -> tuple[int, int, int]:
    """Tell a process apart from every other, one that has its number or its pid later included."""
    return worker.number, worker.generation, worker.pid
