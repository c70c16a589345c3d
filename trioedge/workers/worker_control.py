"""The control plane of an edge in a worker: the control process, which runs the real one.

| the worker is | event | action |
| --- | --- | --- |
| apart | connected | have the edge follow the services; tell of its devices, and of its totals |
| following | a message | apply it |
| following | the connection ends | keep the services; devices are as with a control plane that does not answer |
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from math import inf
from operator import is_not
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from trio_util import AsyncBool, AsyncValue

from ..loop.slices import in_slices
from ..services.control_plane import ChecksDevices, DeviceVerdict, NamesUsers, Reloads, TakesReports
from ..services.linking.edge_link import EdgeLink
from ..services.report import Report
from ..stages.devices.device_limit import DeviceLimit
from .follower import LEFT
from .member_devices import MemberDevices
from .member_users import MemberUsers
from .messages.channel import AnswerError, Channel
from .messages.frames import ChannelError
from .messages.greeting import Welcome
from .messages.packed import SETTINGS_FORMAT
from .sums import Row
from .worker_services import WorkerServices
from .worker_totals import SpokenTotals

if TYPE_CHECKING:
    from ..edge import Edge

SERVICES_PER_MESSAGE: Final = 200

KEYS_PER_MESSAGE: Final = 2_000
"""Keys of sources; a message is packed in one step."""

HANG_UP_SECONDS: Final = 1.0
"""How long after a question that had no answer its connection may still be found to have ended."""

REPORT_SECONDS: Final = 5.0
"""For the answer to one message of totals."""

LEAVE_SECONDS: Final = 0.5
"""How long the end of an edge waits for a place in the queue to the control process."""


@attrs.frozen(eq=False)
class Connected:
    """A connection to the control process."""

    channel: Channel
    welcome: Welcome


class WorkerControl:
    """It looks like the control plane of the edge: it can what that can, and it answers for devices as well.

    Attributes:
        pools_devices: see :class:`~trioedge.services.linking.device_pool.PoolsDevices`; only with a device limit.
    """

    report: Callable[[Report], Awaitable[None]]
    check_device: Callable[[str, str], Awaitable[DeviceVerdict]]
    came: Callable[[str, str], None]
    went: Callable[[str, str], None]
    service_of: Callable[[str], str | None]
    knows_user: Callable[[str], bool]
    find_user: Callable[[str], Awaitable[None]]
    reload: Callable[[], None]
    pools_devices: bool

    def __init__(self, name: str, edge: "Edge", connection: "AsyncValue[Connected | None]") -> None:
        """Follow nothing yet.

        Args:
            name: of the edge, as the control process knows it.
            edge: its description.
            connection: to the control process; None while there is none.
        """
        self._name, self._connection = name, connection
        self._link: EdgeLink | None = None
        self._services: WorkerServices | None = None
        self._reloads = AsyncBool()
        # The connection over which totals may be told: they are counted from what the control plane has.
        self._counting: AsyncValue[Channel | None] = AsyncValue(None)
        real = edge.control
        self._governed = real is not None
        limit = next((each for each in edge.outline.parts if isinstance(each, DeviceLimit)), None)
        self._devices = None if limit is None else MemberDevices(name)
        self._totals = SpokenTotals(names_sources=limit is None)
        self._users = MemberUsers(name)
        # The edge asks for each of these by its name, so it has only those that there are.
        if isinstance(real, TakesReports):
            self.report = self._report
        if self._devices is not None:
            self.check_device, self.came, self.went = self._devices.check, self._devices.came, self._devices.went
            self.pools_devices = isinstance(real, ChecksDevices)
        if isinstance(real, NamesUsers):
            self.service_of, self.knows_user = self._users.service_of, self._users.is_known
            self.find_user = self._find_user
        if isinstance(real, Reloads):
            self.reload = self._reload

    def __repr__(self) -> str:
        return "the control process"

    async def run(self, link: Any, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the control process until cancelled; started at its first snapshot, or at once without services."""
        assert isinstance(link, EdgeLink), "a worker's edge runs it"
        self._link, self._services = link, WorkerServices(link)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, link, self._services)
                if self._governed:
                    await self._services.ready.wait()
                task_status.started()
        finally:
            self._services.end()
            self._link = self._services = None
            await self._leave()

    async def _leave(self) -> None:
        """Have the control process forget the devices and sessions of this edge, also after a cancel."""
        if (connected := self._connection.value) is not None:
            with trio.move_on_after(LEAVE_SECONDS, shield=True), suppress(ChannelError):
                await connected.channel.tell("leave", (self._name, None))

    async def _follow(self, link: EdgeLink, services: WorkerServices) -> None:
        while True:
            connected = await self._connection.wait_value(lambda now: now is not None)
            assert connected is not None, "it has waited for one"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell, connected, link)
                nursery.start_soon(self._tell_reloads, connected.channel)
                await self._connection.wait_value(partial(is_not, connected))
                nursery.cancel_scope.cancel()
            self._counting.value = None
            services.end()
            if self._connection.value is None:
                link.failed("the connection to the control process is lost")

    async def _tell(self, connected: Connected, link: EdgeLink) -> None:
        """Tell what the control process has to know over one connection."""
        channel = connected.channel
        try:
            await channel.ask("follow", (self._name, SETTINGS_FORMAT if self._governed else None), inf)
            link.reached()
            self._totals.begin(connected.welcome.run)
            self._counting.value = channel
            await in_slices(self._totals.mark(link))
            if self._devices is not None:
                await self._devices.tell(channel)
        except ChannelError:
            return

    async def _tell_reloads(self, channel: Channel) -> None:
        try:
            while True:
                await self._reloads.wait_value(True)
                self._reloads.value = False
                await channel.tell("reload", (self._name, None))
        except ChannelError:
            return

    async def take(self, topic: str, body: Any, welcome: Welcome) -> object:
        """Take a message that the control process is to know has been taken.

        Returns:
            The answer; :data:`LEFT` if the edge does not run.
        """
        if topic == "settled":
            self._totals.settle(body)
            return None
        if self._services is None or self._link is None:
            return LEFT
        if topic == "evict":
            service, source, device = body
            self._link.evict(service=service, source=source, device=device)
            return None
        if topic == "applied":
            self._users.forget()
        return await self._services.take(topic, body, welcome.first)

    def told(self, topic: str, body: Any) -> None:
        """Take a message of the control process."""
        if topic == "verdicts" and self._link is not None and self._devices is not None:
            self._devices.judge(self._link, body)

    async def _report(self, report: Report, /) -> None:
        """Hand totals over to the control process, which has them when this returns.

        If the connection ends meanwhile they are handed to the next one, counted as that counts.

        Raises:
            ChannelError: it does not answer.
        """
        while True:
            channel = await self._counting.wait_value(lambda now: now is not None)
            link = self._link
            assert channel is not None, "it has waited for one"
            assert link is not None, "its edge runs"
            try:
                for part in _messages(self._totals.rows(report.services, link.services)):
                    await channel.ask("report", (self._name, part), REPORT_SECONDS)
            except AnswerError:
                raise
            except ChannelError:
                with trio.move_on_after(HANG_UP_SECONDS):  # until its end is known here, too
                    await self._counting.wait_value(partial(is_not, channel))
                    continue
                raise  # the connection lives, and does not answer
            else:
                return

    async def _find_user(self, user: str) -> None:
        connected = self._connection.value
        await self._users.find(user, None if connected is None else connected.channel)

    def _reload(self) -> None:
        self._reloads.value = True


def _messages(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Part totals into messages, by services and by the keys of their sources."""
    message: list[Row] = []
    keys = 0
    for row in rows:
        message.append(row)
        keys += len(row[-1])
        if len(message) == SERVICES_PER_MESSAGE or keys >= KEYS_PER_MESSAGE:
            yield message
            message, keys = [], 0
    if message:
        yield message
