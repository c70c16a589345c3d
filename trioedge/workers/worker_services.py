"""The services of a worker, which follow those of the control process.

| the worker has | event | then |
| --- | --- | --- |
| any services | begin | the names to come are those that stay |
| the same | names | noted |
| the same | named: these are all | remove the others, and those that are others of the same name |
| the same | piece | a part of a long service of a plan or of the next message, noted |
| the same | services | applied |
| the same | applied: these are all of a version | ready |
| the same | surplus | devices of a service that a plan would take offline, noted |
| the same | foresee | what these services of a plan would do is counted; nothing changes |

A plan is counted beside all that, because what is taken away must not wait for it.

Services stay while there is no control process. Another control process gives other incarnations to the services that
it finds in its first snapshot: those of this worker stay, and so do their sessions, if their names do.
"""

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..loop.collector import no_full_pass
from ..loop.slices import in_slices
from ..services.apply import APPLY_REST
from ..services.applying.following import Given
from ..services.changes import ends_step
from ..services.snapshot import Plan
from .follower import Effect, Row
from .messages.frames import ChannelError
from .messages.packed import unpack_settings

if TYPE_CHECKING:
    from ..services.linking.edge_link import EdgeLink


@attrs.define
class _Parts:
    """What comes before a message of services: parts of long ones, and devices that a plan would take offline.

    Attributes:
        plan: the number of the plan whose services they are; 0 for those that are applied.
    """

    plan: int = 0
    pieces: dict[str, list[bytes]] = attrs.field(factory=dict)
    surplus: dict[str, list[str]] = attrs.field(factory=dict)


class WorkerServices:
    """Applies what the control process says of one edge, one message at a time, and counts what plans would do.

    Attributes:
        ready: set once the services are those of a version of the control process.
    """

    __slots__ = ("_busy", "_first", "_foreseeing", "_link", "_named", "_no_pass", "_one_at_a_time", "_parts",
                 "_planned", "ready")  # fmt: skip

    def __init__(self, link: "EdgeLink") -> None:
        """Apply nothing yet; `link` is that of the running edge."""
        self._link = link
        self._named: dict[str, int] = {}
        self._parts, self._planned = _Parts(), _Parts()
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
        if topic == "surplus":
            plan, name, devices = body
            self._parts_of(plan).surplus.setdefault(name, []).extend(devices)
            return None
        if topic == "foresee":
            return await self._foresee(*body)
        async with self._one_at_a_time:
            if not self._busy:
                self._busy = True
                self._no_pass.enter_context(no_full_pass())  # until all of a version has come
            if topic == "begin":
                self._first = first
                self._named, self._parts, self._planned = {}, _Parts(), _Parts()
            elif topic == "names":
                self._named.update(body)
            elif topic == "named":
                await self._remove(await in_slices(self._gone(), rest=self._rest))
                self._named = {}
            elif topic == "services":
                return await self._effect(body, self._parts, self._link.applier.follow)
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
        """Note a part of a piece of a service."""
        pieces = self._parts_of(plan).pieces.setdefault(name, [])
        if not start:
            pieces[place:] = [b""]  # those from here on are of a service that was not sent to its end
        pieces[place] += part

    def _parts_of(self, plan: int) -> _Parts:
        """Give what has come of a plan, which is the latest one; for 0 that of services that are applied.

        Raises:
            ChannelError: the plan was given up, because a later one has begun.
        """
        if not plan:
            return self._parts
        if plan > self._planned.plan:
            self._planned = _Parts(plan)
        if plan < self._planned.plan:
            raise ChannelError("a later plan has begun")
        return self._planned

    async def _foresee(self, plan: int, rows: Sequence[Row]) -> Effect:
        """Count what services of a plan would do."""
        self._parts_of(plan)
        async with self._foreseeing:
            return await self._effect(rows, self._parts_of(plan), self._link.applier.foresee)

    async def _effect(
        self, rows: Sequence[Row], parts: _Parts, act: Callable[[list[Given]], Awaitable[Plan]]
    ) -> Effect:
        given = await in_slices(self._read(rows, parts), rest=self._rest)
        plan = await act(given)
        return plan.retuned, plan.rechecked, plan.evicted

    def _read(self, rows: Sequence[Row], parts: _Parts) -> Generator[None, None, list[Given]]:
        given = []
        for name, incarnation, replaced, pieces in rows:
            if pieces is None:
                given.append(Given(name))
            else:
                settings = yield from unpack_settings(pieces or parts.pieces.pop(name))
                another = self._is_another(name, incarnation, replaced=replaced)
                given.append(Given(name, settings, incarnation, another, parts.surplus.pop(name, ())))
            yield
        return given
