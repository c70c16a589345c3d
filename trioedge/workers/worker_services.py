"""The services of a worker, which follow those of the control process.

| the worker has | event | then |
| --- | --- | --- |
| any services | begin | the names to come are those that stay |
| the same | names | noted |
| the same | named: these are all | remove the others, and those that are others of the same name |
| the same | piece | a part of a long service of a plan or of the next message, noted |
| the same | services | applied |
| the same | applied: these are all of a version | ready |
| the same | foresee | what these services of a plan would do is counted; nothing changes |

A plan is counted beside all that, because what is taken away must not wait for it.

Services stay while there is no control process. Another control process gives other incarnations to the services that
it finds in its first snapshot: those of this worker stay, and so do their sessions, if their names do.
"""

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import trio

from ..loop.collector import no_full_pass
from ..loop.slices import in_slices
from ..services.apply import APPLY_REST
from ..services.applying.following import Given
from ..services.changes import ends_step
from ..services.snapshot import Plan
from .follower import NO_EFFECT, Effect, Row
from .messages.packed import unpack_settings

if TYPE_CHECKING:
    from ..services.linking.edge_link import EdgeLink


class WorkerServices:
    """Applies what the control process says of one edge, one message at a time, and counts what plans would do.

    Attributes:
        ready: set once the services are those of a version of the control process.
    """

    # `_planned` has the pieces of services of the latest plan, which is `_plan`; those of others were given up.
    __slots__ = ("_busy", "_first", "_foreseeing", "_link", "_named", "_no_pass", "_one_at_a_time", "_pieces", "_plan",
                 "_planned", "ready")  # fmt: skip

    def __init__(self, link: "EdgeLink") -> None:
        """Apply nothing yet; `link` is that of the running edge."""
        self._link = link
        self._named: dict[str, int] = {}
        self._pieces: dict[str, list[bytes]] = {}
        self._plan, self._planned = 0, dict[str, list[bytes]]()
        self._first = 0
        self._busy, self._no_pass = False, ExitStack()
        self._one_at_a_time, self._foreseeing = trio.Lock(), trio.Lock()
        self.ready = trio.Event()

    async def take(self, topic: str, body: Any, first: int) -> object:
        """Apply one message and return the answer.

        Args:
            topic: one of those above.
            body: what belongs to it.
            first: the first incarnation of this control process; smaller ones are of earlier ones.
        """
        if topic == "piece":
            self._note_piece(*body)
            return None
        if topic == "foresee":
            return await self._foresee(*body)
        async with self._one_at_a_time:
            if not self._busy:
                self._busy = True
                self._no_pass.enter_context(no_full_pass())  # until all of a version has come
            if topic == "begin":
                self._first = first
                self._named, self._pieces = {}, {}
                self._plan, self._planned = 0, {}
            elif topic == "names":
                self._named.update(body)
            elif topic == "named":
                await self._remove(await in_slices(self._gone(), rest=self._rest))
                self._named = {}
            elif topic == "services":
                return await self._effect(body, self._pieces, self._link.applier.follow)
            elif topic == "applied":
                await self._link.applier.followed(body)
                self.end()
                self.ready.set()
            return None

    @property
    def _rest(self) -> float:
        """How long work rests: there are no sessions before the first version."""
        return APPLY_REST if self.ready.is_set() else 0

    def end(self) -> None:
        """Stop, because all of a version has come, the connection is lost, or the edge ends."""
        self._busy = False
        self._no_pass.close()

    def _gone(self) -> Generator[None, None, list[Given]]:
        """Give the services to remove."""
        gone = []
        for number, service in enumerate(self._link.services):
            if self._is_another(service.name, self._named.get(service.name)):
                gone.append(Given(service.name))
            if ends_step(number):
                yield
        return gone

    def _is_another(self, name: str, incarnation: int | None, *, replaced: bool = False) -> bool:
        """Return whether the service of this name here is not the one that the control process means."""
        here = self._link.services.get(name)
        if here is None or incarnation == here.incarnation:
            return False
        return replaced or incarnation is None or here.incarnation >= self._first

    async def _remove(self, gone: Sequence[Given]) -> None:
        if gone:
            await self._link.applier.follow(gone)

    def _note_piece(self, plan: int, name: str, place: int, start: int, part: bytes) -> None:
        """Note a part of a piece of a service, for the next message or for a plan."""
        known = self._pieces_of(plan) if plan else self._pieces
        if known is not None:
            pieces = known.setdefault(name, [])
            if not start:
                pieces[place:] = [b""]  # those from here on are of a service that was not sent to its end
            pieces[place] += part

    def _pieces_of(self, plan: int) -> dict[str, list[bytes]] | None:
        """Give the pieces of a plan; None if it was given up, because a later one has begun."""
        if plan > self._plan:
            self._plan, self._planned = plan, {}
        return self._planned if plan == self._plan else None

    async def _foresee(self, plan: int, rows: Sequence[Row]) -> Effect:
        """Count what services of a plan would do; nothing for a plan that was given up."""
        self._pieces_of(plan)
        async with self._foreseeing:
            known = self._pieces_of(plan)
            return NO_EFFECT if known is None else await self._effect(rows, known, self._link.applier.foresee)

    async def _effect(
        self, rows: Sequence[Row], pieces: dict[str, list[bytes]], act: Callable[[list[Given]], Awaitable[Plan]]
    ) -> Effect:
        given = await in_slices(self._read(rows, pieces), rest=self._rest)
        plan = await act(given)
        return plan.retuned, plan.rechecked, plan.evicted

    def _read(self, rows: Sequence[Row], known: dict[str, list[bytes]]) -> Generator[None, None, list[Given]]:
        given = []
        for name, incarnation, replaced, pieces in rows:
            if pieces is None:
                given.append(Given(name))
            else:
                settings = yield from unpack_settings(pieces or known.pop(name))
                another = self._is_another(name, incarnation, replaced=replaced)
                given.append(Given(name, settings, incarnation, another))
            yield
        return given
