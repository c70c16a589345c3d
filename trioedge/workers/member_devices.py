"""The devices of a worker, as the control process is told of them.

The control process is told of states, not of changes: a device that comes and goes while a message is under way is told
once, as it is when the next one is made.

| a device is | event | then |
| --- | --- | --- |
| told | it comes, or goes | due |
| told | its verdict has expired, and the device limit asks | due, and asks |
| due | the next message | told, as it is then |
| offline, asked | it is unknown to the control process | unknown, and its question is over |
| online again | it was unknown while it was offline | its question waits for the verdict |
| any | another connection to the control process | due, if it is online |
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import trio
from trio_util import AsyncBool

from ..loop.slices import in_slices
from ..services.changes import ends_step
from ..services.control_plane import DeviceGoneError, DeviceVerdict
from ..services.linking.device_pool import DeviceShare
from ..structures.dirty_set import DirtySet
from .messages.channel import Channel
from .pooled_devices import Judged, Told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..services.linking.edge_link import EdgeLink

DEVICES_PER_MESSAGE: Final = 128

_Key: TypeAlias = tuple[str, str]


@attrs.define(eq=False)
class _Question:
    answered: trio.Event = attrs.field(factory=trio.Event)
    verdict: DeviceVerdict | None = None
    asking: int = 0


class MemberDevices:
    """The devices of one edge in a worker."""

    def __init__(self, edge: str) -> None:
        """Have no device online.

        Args:
            edge: its name.
        """
        self._edge = edge
        # A count, because a service that is named again may have a device before its forerunner has lost it.
        self._online: dict[_Key, int] = {}
        self._due: DirtySet[_Key] = DirtySet()
        self._questions: dict[_Key, _Question] = {}
        self._asking: set[_Key] = set()
        self._wakeup = AsyncBool()

    def came(self, service: str, device: str) -> None:
        """See :meth:`FollowsDevices.came`."""
        key = service, device
        self._online[key] = self._online.get(key, 0) + 1
        self._mark(key)

    def went(self, service: str, device: str) -> None:
        """See :meth:`FollowsDevices.went`."""
        key = service, device
        self._online[key] -= 1
        if not self._online[key]:
            del self._online[key]
        self._mark(key)

    async def check(self, service: str, device: str) -> DeviceVerdict:
        """Ask the control process, and return its next verdict on a device; it is applied by then.

        While there is no control process this waits, as for a control plane that does not answer.

        Raises:
            DeviceGoneError: the device went before the control process knew it.
        """
        key = service, device
        question = self._questions.setdefault(key, _Question())
        question.asking += 1
        self._asking.add(key)
        self._mark(key)
        try:
            await question.answered.wait()
        finally:
            question.asking -= 1
            if not question.asking and self._questions.get(key) is question:
                del self._questions[key]
        if question.verdict is None:
            raise DeviceGoneError("the device went before it was checked")
        return question.verdict

    def judge(self, link: "EdgeLink", rows: "Iterable[Judged]") -> None:
        """Apply verdicts of the control process, and answer the questions about their devices."""
        limit = link.services.device_judge
        for name, device, verdict, seconds, detail in rows:
            service = link.services.get(name)
            if service is None or limit is None or (verdict == "unknown" and (name, device) in self._online):
                continue
            judged = None if verdict == "unknown" else DeviceVerdict(verdict == "accept", seconds, detail)
            if verdict == "refuse" and isinstance(limit, DeviceShare):
                limit.refuse(service, device, seconds, detail)
            elif judged is not None:
                limit.judge(service, device, judged)
            question = self._questions.pop((name, device), None)
            if question is not None:
                question.verdict = judged
                question.answered.set()

    async def tell(self, channel: Channel) -> None:
        """Tell of all devices that are online, and then of each that is due, until the channel ends.

        Raises:
            ChannelError: it has ended.
        """
        await in_slices(self._mark_all())
        await self._tell_due(channel)
        await channel.tell("devices told", (self._edge, None))
        while True:
            await self._wakeup.wait_value(True)
            self._wakeup.value = False
            await self._tell_due(channel)

    async def _tell_due(self, channel: Channel) -> None:
        while taken := self._due.take(DEVICES_PER_MESSAGE):
            rows: list[Told] = []
            for key in taken:
                self._due.done(key)
                asks = key in self._asking and key in self._questions
                self._asking.discard(key)
                rows.append((*key, key in self._online, asks))
            await channel.tell("devices", (self._edge, rows))

    def _mark_all(self) -> Generator[None, None, None]:
        self._asking.update(self._questions)  # of another control process, which was not asked
        for number, key in enumerate((*self._online, *self._questions)):
            self._due.mark(key)
            if ends_step(number):
                yield

    def _mark(self, key: _Key) -> None:
        self._due.mark(key)
        self._wakeup.value = True
