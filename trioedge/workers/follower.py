"""The services of one worker follow those of the control process.

The control process tells of states, not of changes: a service that changes twice before its turn comes is sent once.

| a service is | event | then |
| --- | --- | --- |
| told | it changes | waits |
| told, waits | it is disabled or removed, or its password is taken away | waits, before all that only wait |
| told, waits | it is removed | the same, and the worker is to remove it even if it is named again by then |
| waits | its turn comes | told, as it is at that moment |

So what a snapshot takes away is taken away first, past everything that waits. One message is under way at a time, and
the worker has applied it when it answers. Once nothing waits, the worker is told the version that it has now.
"""

from collections import OrderedDict
from collections.abc import Generator
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from trio_util import AsyncBool, AsyncValue

from ..loop.slices import Stepwise, in_slices
from ..services.apply import APPLY_REST
from ..services.changes import ends_step
from ..services.service import Service
from ..services.services import Services
from ..services.snapshot import Change
from .messages.channel import AnswerError, Channel
from .messages.frames import ChannelError
from .messages.packed import pack_settings

if TYPE_CHECKING:
    from ..telemetry.log import EdgeLog

SERVICES_PER_MESSAGE: Final = 64
"""A worker applies so many in some milliseconds, and what is taken away waits for no more."""

BYTES_PER_MESSAGE: Final = 65_536

NAMES_PER_MESSAGE: Final = 1_024

Row: TypeAlias = tuple[str, int, bool, tuple[bytes, ...] | None]
"""A service: its name, its incarnation, whether it was removed since it was told last, and its settings."""


class ServiceFollower:
    """The worker that follows the services of one edge, as the control process sees it.

    Attributes:
        worker: its number.
        version: of the snapshot that the worker has applied; None before the first.
        refusal: why the worker does not follow; empty if it does.
        effect: sessions that the worker has retuned, rechecked and evicted so far.
    """

    # A name is in `_urgent` or in `_rest` while it waits, and in `_replaced` if it was removed since it was told.
    # `_noted` counts the changes, and `_told` has the count up to which the worker has applied all.
    __slots__ = ("_channel", "_edge", "_log", "_noted", "_replaced", "_rest", "_services", "_told", "_urgent",
                 "_version", "_version_due", "_wakeup", "effect", "refusal", "version", "worker")  # fmt: skip

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
        self._urgent: OrderedDict[str, None] = OrderedDict()
        self._rest: OrderedDict[str, None] = OrderedDict()
        self._replaced: set[str] = set()
        self._noted, self._told = 0, AsyncValue[float](0)
        self._wakeup = AsyncBool()
        self._version, self._version_due = "", False
        self.version: str | None = None
        self.refusal = ""
        self.effect = (0, 0, 0)

    def note(self, name: str, change: Change) -> None:
        """Note that a service has changed. O(1)."""
        self._noted += 1
        if change.after is None:
            self._replaced.add(name)
        if _takes_away(change):
            self._rest.pop(name, None)
            self._urgent[name] = None
        elif name not in self._urgent:
            self._rest[name] = None
        self._wakeup.value = True

    def applied(self, version: str) -> None:
        """Note that the changes so far are all of a version."""
        self._version, self._version_due = version, True
        self._wakeup.value = True

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
            await self._begin()
            while True:
                await self._wakeup.wait_value(True)
                self._wakeup.value = False
                await self._catch_up()
        except AnswerError as error:
            self.refusal = str(error)
            self._log.notice("worker does not follow the services", worker=self.worker, error=self.refusal)
        except ChannelError:
            return
        finally:
            self._told.value = inf  # the callers that wait go on

    async def _begin(self) -> None:
        """Tell the names of all services first, so that the worker removes the others, and then all."""
        await self._ask("begin", None)
        names = tuple(self._services.names)
        for start in range(0, len(names), NAMES_PER_MESSAGE):
            found = map(self._services.get, names[start : start + NAMES_PER_MESSAGE])
            await self._ask("names", [(each.name, each.incarnation) for each in found if each is not None])
        await self._ask("named", None)
        await in_slices(self._queue_all(names))
        self._version_due = True
        self._wakeup.value = True

    def _queue_all(self, names: tuple[str, ...]) -> Stepwise[None]:
        for number, name in enumerate(names):
            if name not in self._urgent:
                self._rest.setdefault(name)
            if ends_step(number):
                yield

    async def _catch_up(self) -> None:
        while self._urgent or self._rest or self._version_due:
            noted = self._noted
            if self._urgent or self._rest:
                rows, faults = await in_slices(self._compose(), rest=APPLY_REST)
                for name, fault in faults:
                    self._log.fault("service cannot be sent to a worker", fault, service=name)
                await self._send(rows)
            else:
                self._version_due = False
                version = self._version
                await self._ask("applied", version)
                self.version = version
            if not self._urgent and not self._rest:
                self._told.value = noted

    def _compose(self) -> Generator[None, None, tuple[list[Row], list[tuple[str, Exception]]]]:
        """Take services that wait, as they are now, for one message."""
        rows: list[Row] = []
        faults: list[tuple[str, Exception]] = []
        size = 0
        while (waiting := self._urgent or self._rest) and len(rows) < SERVICES_PER_MESSAGE and size < BYTES_PER_MESSAGE:
            name, _ = waiting.popitem(last=False)
            replaced = name in self._replaced
            self._replaced.discard(name)
            service = self._services.get(name)
            if service is None:
                rows.append((name, 0, True, None))
            else:
                try:
                    pieces = yield from pack_settings(service.settings)
                except Exception as fault:
                    faults.append((name, fault))
                else:
                    rows.append((name, service.incarnation, replaced, tuple(pieces)))
                    size += sum(map(len, pieces))
            yield
        return rows, faults

    async def _send(self, rows: list[Row]) -> None:
        """Send services, the pieces of a long one in messages of their own before it."""
        for number, (name, incarnation, replaced, pieces) in enumerate(rows):
            if pieces is not None and sum(map(len, pieces)) > BYTES_PER_MESSAGE:
                for piece in pieces:
                    await self._ask("piece", (name, piece))
                rows[number] = name, incarnation, replaced, ()
        effect = await self._ask("services", rows)
        retuned, rechecked, evicted = self.effect
        self.effect = retuned + effect[0], rechecked + effect[1], evicted + effect[2]

    async def _ask(self, topic: str, body: object) -> Any:
        return await self._channel.ask(topic, (self._edge, body), inf)


def _takes_away(change: Change) -> bool:
    """Return whether a change ends sessions, or makes a password wrong."""
    if change.after is None or "password_hash" in change.fields:
        return True
    return "enabled" in change.fields and change.after.policy.enabled is False


class FanOut:
    """The watcher of the services of an edge in the control process: it notes every change for each worker."""

    __slots__ = ("followers",)

    def __init__(self) -> None:
        self.followers: list[ServiceFollower] = []

    def changed(self, service: Service, change: Change) -> None:
        """See :meth:`Watcher.changed`."""
        for each in self.followers:
            each.note(service.name, change)

    def applied(self, version: str) -> None:
        """Note that a snapshot was applied."""
        for each in self.followers:
            each.applied(version)
