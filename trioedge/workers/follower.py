"""The services of one worker follow those of the control process.

The control process tells of states, not of changes: a service is told as it is when its turn comes.

| a service is | event | then |
| --- | --- | --- |
| told | it changes | waits |
| told, waits | it is disabled or removed, or its password is taken away | waits, before all that only wait |
| told, waits | it is removed | the same, and the worker is to remove it even if it is named again by then |
| waits | its turn comes | told, as it is at that moment |
| any | very many changes wait | all services wait, as for a worker that has just connected |

So what a snapshot takes away is taken away first, past everything that waits. One message is under way at a time, and
the worker has applied it when it answers. Once nothing waits, the worker is told the version that it has now.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio
from trio_util import AsyncBool, AsyncValue

from ..loop.slices import in_slices
from ..services.service import Service
from ..services.services import Services
from ..services.snapshot import Change
from .messages.channel import AnswerError, Channel
from .messages.frames import ChannelError, UnsentError
from .messages.packed import pack_settings

if TYPE_CHECKING:
    from ..structures.shared.limits import EdgeLimits
    from ..telemetry.log import EdgeLog

SERVICES_PER_MESSAGE: Final = 64
"""A worker applies so many in some milliseconds, and what is taken away waits for no more."""

BYTES_PER_MESSAGE: Final = 65_536

NAMES_PER_MESSAGE: Final = 512

MIN_WAITING: Final = 100_000
"""So many changes wait for any worker; beyond it twice as many as there are services. A worker that is further behind,
because it was stopped, is told everything anew."""

FORESEE_SECONDS: Final = 10.0
"""How long a worker may take for each message of a plan, the changes that wait before it included."""

REST: Final = 1
"""How many times longer than it works the packing of services rests; there are no sessions in the control process."""

LEFT: Final = "left"
"""The answer of a worker in which the edge has ended."""

Row: TypeAlias = tuple[str, int, bool, tuple[bytes, ...] | None]
"""A service: its name, its incarnation, whether it was removed since it was told last, and its settings."""

Effect: TypeAlias = tuple[int, int, int]
"""How many sessions are retuned, rechecked and evicted."""

NO_EFFECT: Final[Effect] = (0, 0, 0)


def summed(effects: Iterable[Effect]) -> Effect:
    """Add effects up."""
    retuned, rechecked, evicted = map(sum, zip(NO_EFFECT, *effects, strict=True))
    return retuned, rechecked, evicted


class ServiceFollower:
    """The worker that follows the services of one edge, as the control process sees it.

    Attributes:
        worker: its number.
        version: of the snapshot that the worker has applied; None before the first.
        refusal: why the worker does not follow; empty if it does.
        effect: sessions that the worker has retuned, rechecked and evicted so far.
    """

    # Changes that wait, the oldest first: `_urgent` has names and whether the service was removed, `_rest` has names,
    # and `_all` those of the services that are still to be told to a worker that knows none. They are queues, because a
    # table of as many names would hold the loop when it grows. `_noted` counts the changes, and `_told` has the count
    # up to which the worker has applied all.
    __slots__ = ("_all", "_anew", "_channel", "_edge", "_foreseeing", "_log", "_noted", "_plans", "_rest",
                 "_services", "_told", "_urgent", "_version", "_version_due", "_wakeup", "effect", "refusal",
                 "version", "worker")  # fmt: skip

    def __init__(self, edge: str, worker: int, services: Services, channel: Channel, log: "EdgeLog") -> None:
        """Tell nothing yet.

        Args:
            edge: its name.
            worker: its number.
            services: of the control process.
            channel: to the worker.
            log: names services that cannot be sent, and a worker that refuses.
        """
        self._edge, self.worker, self._services, self._channel, self._log = edge, worker, services, channel, log
        self._urgent: deque[tuple[str, bool]] = deque()
        self._rest: deque[str] = deque()
        self._all: Iterator[str] = iter(())
        self._anew = True
        self._noted, self._told = 0, AsyncValue[float](0)
        self._wakeup = AsyncBool()
        self._version, self._version_due = "", False
        self.version: str | None = None
        self.refusal = ""
        self.effect = NO_EFFECT
        self._foreseeing, self._plans = trio.Lock(), count(1)

    def note(self, name: str, change: Change) -> None:
        """Note that a service has changed. O(1)."""
        self._noted += 1
        if self._anew:
            return
        if _takes_away(change):
            self._urgent.append((name, change.after is None))
        else:
            self._rest.append(name)
        if len(self._urgent) + len(self._rest) > max(MIN_WAITING, 2 * len(self._services)):
            self._anew = True
        self._wakeup.value = True

    def applied(self, version: str) -> None:
        """Note that the changes so far are all of a version."""
        self._version, self._version_due = version, True
        self._wakeup.value = True

    @property
    def follows(self) -> bool:
        """Whether the worker has the services, and is told what changes."""
        return self.version is not None and self._told.value < inf

    @property
    def lags(self) -> bool:
        """Whether there are changes that the worker has not applied."""
        return self._told.value < self._noted

    async def caught_up(self) -> None:
        """Wait until the worker has applied every change that was noted before this call, or follows no more."""
        noted = self._noted
        await self._told.wait_value(lambda told: told >= noted)

    async def run(self) -> None:
        """Tell the worker everything, and then every change, until the channel ends or the worker refuses."""
        try:
            while True:
                await self._catch_up()
                await self._wakeup.wait_value(True)
                self._wakeup.value = False
        except (AnswerError, UnsentError) as error:
            self.refusal = str(error)
            self._log.notice("worker does not follow the services", worker=self.worker, error=self.refusal)
        except ChannelError:
            return
        finally:
            self._told.value = inf  # the callers that wait go on

    async def foresee(self, rows: Sequence[Row], surplus: Mapping[str, Sequence[str]]) -> Effect:
        """Have the worker count what services would do to its sessions, behind the changes so far; nothing changes.

        Changes that come meanwhile are told as ever.

        Args:
            rows: the services.
            surplus: the devices of services that the control process would take offline.

        Raises:
            ChannelError: the worker does not answer within 10 s for some services.
        """
        async with self._foreseeing:
            with trio.move_on_after(FORESEE_SECONDS) as limit:
                await self.caught_up()
            if limit.cancelled_caught:
                raise ChannelError(f"it lags behind the services for {FORESEE_SECONDS:g} s")
            plan = next(self._plans)
            for name, devices in surplus.items():
                for start in range(0, len(devices), NAMES_PER_MESSAGE):
                    part = devices[start : start + NAMES_PER_MESSAGE]
                    await self._ask("surplus", (plan, name, part), FORESEE_SECONDS)
            return summed([await self._send(message, plan, FORESEE_SECONDS) for message in _messages(rows)])

    async def _begin(self) -> None:
        """Tell the names of all services, so that the worker removes the others, and have all of them told."""
        self._urgent, self._rest, self._anew = deque(), deque(), False
        names = tuple(self._services.names)
        await self._ask("begin", None)
        for start in range(0, len(names), NAMES_PER_MESSAGE):
            found = map(self._services.get, names[start : start + NAMES_PER_MESSAGE])
            await self._ask("names", [(each.name, each.incarnation) for each in found if each is not None])
        await self._ask("named", None)
        self._all = iter(names)
        self._version_due = True

    async def _catch_up(self) -> None:
        while True:
            if self._anew:
                await self._begin()
            noted = self._noted
            rows, faults = await in_slices(self._compose(), rest=REST)
            for name, fault in faults:
                self._log.fault("service cannot be sent to a worker", fault, service=name)
            if rows:
                self.effect = summed((self.effect, await self._send(rows)))
            elif not (self._urgent or self._rest or self._anew):
                self._told.value = noted
                if not self._version_due:
                    return
                self._version_due = False
                version = self._version
                await self._ask("applied", version)
                self.version = version

    def _compose(self) -> Generator[None, None, tuple[list[Row], list[tuple[str, Exception]]]]:
        """Take services that wait, as they are now, for one message."""
        rows: list[Row] = []
        faults: list[tuple[str, Exception]] = []
        size = 0
        while len(rows) < SERVICES_PER_MESSAGE and size < BYTES_PER_MESSAGE and (waits := self._next()) is not None:
            name, removed = waits
            service = self._services.get(name)
            if service is None:
                rows.append((name, 0, True, None))
            else:
                try:
                    pieces = yield from pack_settings(service.settings)
                except Exception as fault:
                    faults.append((name, fault))
                else:
                    rows.append((name, service.incarnation, removed, tuple(pieces)))
                    size += sum(map(len, pieces))
            yield
        return rows, faults

    def _next(self) -> tuple[str, bool] | None:
        """Take the next service that waits, and whether it was removed; None for none."""
        if self._urgent:
            return self._urgent.popleft()
        name = self._rest.popleft() if self._rest else next(self._all, None)
        return None if name is None else (name, False)

    async def _send(self, rows: list[Row], plan: int = 0, seconds: float = inf) -> Effect:
        """Send services, the pieces of a long one in messages of their own before it, and give the effect.

        Args:
            rows: the services.
            plan: the number of the plan whose effect they would have; 0 for services that are applied.
            seconds: for the answer of each message.
        """
        for number, (name, incarnation, replaced, pieces) in enumerate(rows):
            if pieces is not None and sum(map(len, pieces)) > BYTES_PER_MESSAGE:
                for place, piece in enumerate(pieces):
                    for start in range(0, len(piece), BYTES_PER_MESSAGE):
                        part = piece[start : start + BYTES_PER_MESSAGE]
                        await self._ask("piece", (plan, name, place, start, part), seconds)
                rows[number] = name, incarnation, replaced, ()
        topic, body = ("foresee", (plan, rows)) if plan else ("services", rows)
        effect: Effect = await self._ask(topic, body, seconds)
        return effect

    async def _ask(self, topic: str, body: object, seconds: float = inf) -> Any:
        answer = await self._channel.ask(topic, (self._edge, body), seconds)
        if answer == LEFT:
            raise ChannelError("the edge has ended in the worker")
        return answer


def _messages(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Part services into messages."""
    message: list[Row] = []
    size = 0
    for row in rows:
        message.append(row)
        size += sum(map(len, row[3] or ()))
        if len(message) == SERVICES_PER_MESSAGE or size >= BYTES_PER_MESSAGE:
            yield message
            message, size = [], 0
    if message:
        yield message


def _takes_away(change: Change) -> bool:
    """Return whether a change ends sessions, or makes a password wrong."""
    if change.after is None or "password_hash" in change.fields:
        return True
    return "enabled" in change.fields and change.after.policy.enabled is False


class FanOut:
    """The watcher of the services of an edge in the control process: it notes every change for each worker."""

    __slots__ = ("_limits", "followers")

    def __init__(self, limits: "EdgeLimits | None" = None) -> None:
        """Begin without followers.

        Args:
            limits: of the edge over all workers; None where they share no memory.
        """
        self._limits = limits
        self.followers: list[ServiceFollower] = []

    def changed(self, service: Service, change: Change) -> None:
        """See :meth:`Watcher.changed`; a service that is removed and named again has its whole burst."""
        if change.after is None and self._limits is not None:
            self._limits.clear(service.name)
        for each in self.followers:
            each.note(service.name, change)

    def applied(self, version: str) -> None:
        """Note that a snapshot was applied."""
        for each in self.followers:
            each.applied(version)
