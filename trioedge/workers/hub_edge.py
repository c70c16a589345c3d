"""One edge in the control process: its control plane, its services and devices, and the workers that serve it."""

from collections.abc import Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import attrs
import trio
from trio_util import AsyncBool

from ..addresses.address import parse_address
from ..addresses.listening import ListeningAddresses
from ..control.supervisor import ControlState, ControlSupervisor, WorkerState
from ..loop.reactor import Reactor
from ..services.context import EdgeContext
from ..services.control_plane import NamesUsers
from ..services.listening.ports import Ports
from ..services.policy import enforced_by_edge
from ..services.service import Service
from ..services.terms.shared_quota import SharedQuotas
from ..session.meter import Total
from ..stages.devices.device_limit import DeviceLimit
from ..telemetry.log import EdgeLog
from ..upstreams.own_listeners import own_listener, reached
from .follower import FanOut, ServiceFollower
from .hub_link import HubLink
from .life import Life
from .messages.channel import Channel
from .messages.frames import ChannelError
from .messages.packed import SETTINGS_FORMAT, SendableKeys
from .pooled_devices import PooledDevices
from .sums import SummedReports, Sums, WorkerTotals

if TYPE_CHECKING:
    from ..edge import Edge
    from ..structures.shared.limits import EdgeLimits

Eviction: TypeAlias = tuple[str | None, str | None, str | None]
"""What to cut: the sessions of a service, a source and a device, where these are named."""

VERDICTS_PER_MESSAGE: Final = 256

SETTLED_PER_MESSAGE: Final = 256

RELOAD_SECONDS: Final = 1.0
"""Workers that are told to reload all ask for it at once."""


class HubEdge:
    """What the control process does for one edge.

    Attributes:
        supervisor: runs the control plane.
        link: of the control plane.
        devices: the device table; None where the chain has none.
    """

    def __init__(self, name: str, edge: "Edge", first: int, limits: "EdgeLimits | None", workers: int) -> None:
        """Start nothing; :meth:`start` does.

        Args:
            name: of the edge, as the workers know it.
            edge: composed alike in every process.
            first: the first incarnation of a service.
            limits: those over all workers; this process corrects the counts of quotas there. None for none.
            workers: their number.
        """
        self.name = name
        self.log = EdgeLog()
        self._edge, self._workers = edge, workers
        self._followers: dict[Life, ServiceFollower] = {}
        self._evictions: dict[Life, dict[Eviction, None]] = {}
        self._wakeups: dict[Life, AsyncBool] = {}
        self._reloaded_at = float("-inf")
        self._ready = trio.Event()
        made = edge.description
        facts = edge.outline.facts
        self.supervisor = supervisor = ControlSupervisor(
            made.control, self.log, (Total(), Total()), name=made.known_name,
            enforced=edge.outline.enforced | enforced_by_edge(counts_bytes=facts[-1].relays),
            report_seconds=made.report_seconds, snapshots=edge.snapshots,
            stage_keys=SendableKeys(edge.outline.policies), outbounds=made.outbound_facts, first=first,
            reports=self._reports,
            quotas=None if limits is None else SharedQuotas(limits.quotas, corrects=True),
        )  # fmt: skip
        services, applier = supervisor.services, supervisor.applier
        supervisor.live.source_prefix = made.source_keys
        own = [parse_address(each, listening=True) for each in edge.listen]
        services.ports = Ports(made.open_ports, own, reached)
        listening = ListeningAddresses(own)
        applier.own_listener = lambda destination: own_listener(destination, listening)
        applier.needs_destination = edge.outline.needs_destination
        self._fan_out = FanOut(limits)
        services.watch(self._fan_out)
        applier.on_applied.append(lambda: self._fan_out.applied(applier.version))
        self._sums = self._queue.sums = Sums(services, first)
        self._sums.changed = self._changed
        self._sums.settled = self._wake
        self.link = HubLink(
            applier, services, supervisor.live, self._sums, self._fan_out, self._evict, self._apart, self.log
        )
        supervisor.link = self.link
        self._limit = next((each for each in edge.outline.parts if isinstance(each, DeviceLimit)), None)
        self.devices: PooledDevices | None = None

    def _reports(self, edge: str, epoch: str) -> SummedReports:
        self._queue = SummedReports(edge, epoch)
        return self._queue

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the control plane and the device table, until cancelled; started at the first snapshot."""
        async with trio.open_nursery() as nursery:
            if self._limit is not None:
                await self._open_devices(self._limit, nursery)
            if self._edge.control is not None:
                await nursery.start(self.supervisor.keeper.run)
            await self.supervisor.start(nursery, trio.Event())
            self._ready.set()
            task_status.started()

    async def ready(self) -> None:
        """Wait for the first snapshot: before that no word of a worker about a service can be understood."""
        await self._ready.wait()

    async def _open_devices(self, limit: DeviceLimit, nursery: trio.Nursery) -> None:
        supervisor = self.supervisor
        reactor = Reactor(self.log)
        await nursery.start(reactor.run)
        nothing = cast(Any, None)  # a device limit relays, resolves and connects nothing
        context = EdgeContext(
            log=self.log, control=self._edge.control, outbound=None, relays=True, reactor=reactor, resolver=nothing,
            services=supervisor.services, sessions=supervisor.live, edge=nothing,
            source_prefix=self._edge.description.source_keys,
        )  # fmt: skip
        self.devices = self.link.devices = PooledDevices(limit, context, supervisor.services)
        await nursery.start(self.devices.table.run)

    # A worker.

    async def serve(self, life: Life, follows: str | None, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve a worker of this edge until its channel ends; only once it is :meth:`ready`.

        Args:
            life: the worker, connected.
            follows: its version of the services' format; None if the edge has no control plane to follow.
            task_status: started once its messages can be taken.
        """
        channel = life.channel
        assert channel is not None, "it is connected"
        wakeup = self._wakeups[life] = AsyncBool(True)
        self._evictions.setdefault(life, {})
        follower = ServiceFollower(self.name, life.number, self.supervisor.services, channel, self.log)
        self._followers[life] = follower
        if self.devices is not None:
            self.devices.connected(life, partial(self._wake, life))
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                if self._edge.control is not None:
                    nursery.start_soon(self._feed, follower, follows)
                while True:
                    await wakeup.wait_value(True)
                    wakeup.value = False
                    await self._tell(life)
        finally:
            if follower in self._fan_out.followers:
                self._fan_out.followers.remove(follower)

    async def _feed(self, follower: ServiceFollower, follows: str | None) -> None:
        if follows != SETTINGS_FORMAT:
            follower.refusal = "it is of another version: it only reports"
            return
        follower.applied(self.supervisor.applier.version)
        self._fan_out.followers.append(follower)
        await follower.run()

    async def _tell(self, life: Life) -> None:
        """Tell a worker its verdicts, and what the control plane has of its totals."""
        channel = life.channel
        if channel is None:
            return
        try:
            await _have_evicted(channel, self.name, self._evictions[life])
            await _have_settled(channel, self.name, self._sums.of(life))
            while self.devices is not None and self.devices.waits(life):
                verdicts = self.devices.take(life, VERDICTS_PER_MESSAGE)
                if verdicts:
                    await channel.tell("verdicts", (self.name, verdicts))
                await trio.lowlevel.checkpoint()
        except ChannelError:
            return

    def settles(self, life: Life) -> bool:
        """Whether a worker is still to be told which totals were acknowledged; one that has left the edge is not."""
        return life in self._wakeups and self._sums.of(life).settles

    def told(self, life: Life, topic: str, body: Any) -> None:
        """Take a message of a worker."""
        if topic == "devices" and self.devices is not None:
            self.devices.told(life, body)
        elif topic == "devices told" and self.devices is not None:
            self.devices.told_all(life)
        elif topic == "reload" and trio.current_time() - self._reloaded_at >= RELOAD_SECONDS:
            self.reload()

    def reload(self) -> None:
        """Have the control plane read its source again; workers that ask for the same within a second are done."""
        self._reloaded_at = trio.current_time()
        self.supervisor.reload()

    def answer(self, life: Life, topic: str, body: Any) -> object:
        """Answer a question of a worker."""
        if topic == "report":
            self._sums.add(life, body)
            return None
        control = self._edge.control
        return control.service_of(body) if isinstance(control, NamesUsers) else None

    def lost(self, life: Life) -> None:
        """Note that a worker has not been connected for some time."""
        self._sums.lost(life)
        self._evictions.pop(life, None)
        self._wakeups.pop(life, None)
        if self.devices is not None:
            self.devices.lost(life)

    def forget(self, life: Life) -> None:
        """Forget a worker whose process is over."""
        self.lost(life)
        self._sums.forget(life)
        self._followers.pop(life, None)

    def past(self, service: str, lives: Sequence[Life]) -> dict[str, int]:
        """Give what others than these workers have said of a service; empty if there is none."""
        found = self.supervisor.services.get(service)
        return {} if found is None else self._sums.beside(found, lives)

    def state(self, lives: Sequence[Life]) -> ControlState:
        """Give the state of the control plane, and how far each worker has followed it."""
        workers = tuple(_state(life, self._followers.get(life)) for life in lives)
        return attrs.evolve(self.supervisor.state(), workers=workers)

    def _changed(self, service: Service) -> None:
        self.supervisor.report_soon(service)
        if service.removed and not service.live:
            self.supervisor.gone(service)

    def _wake(self, life: Any) -> None:
        if (wakeup := self._wakeups.get(life)) is not None:
            wakeup.value = True

    def _apart(self) -> list[int]:
        """Give the workers that do not follow the services: they connect, or are of another version."""
        following = [each for each in self._fan_out.followers if each.follows]
        apart = [life.number for life in self._wakeups if self._followers.get(life) not in following]
        known = {*apart, *(each.worker for each in following)}
        return apart + [number for number in range(self._workers) if number not in known]

    def _evict(self, service: str | None, source: str | None, device: str | None) -> None:
        for life, evictions in self._evictions.items():
            evictions[service, source, device] = None
            self._wake(life)


def _state(life: Life, follower: ServiceFollower | None) -> WorkerState:
    return WorkerState(
        life.number, life.hello.pid, life.hello.generation,
        connected=life.channel is not None,
        version=None if follower is None else follower.version,
        refusal="" if follower is None else follower.refusal,
        lags=follower is not None and follower.lags,
    )  # fmt: skip


# Both are questions, because a message that was sent may not arrive when a connection ends.


async def _have_evicted(channel: Channel, edge: str, evictions: dict[Eviction, None]) -> None:
    """Have a worker cut sessions; evictions that it has not confirmed stay, for the next connection."""
    while evictions:
        eviction, _ = evictions.popitem()
        try:
            await channel.ask("evict", (edge, eviction), inf)
        except BaseException:
            evictions.setdefault(eviction)
            raise


async def _have_settled(channel: Channel, edge: str, totals: WorkerTotals) -> None:
    """Have a worker know the acknowledged totals; those that it has not confirmed stay, for the next connection."""
    while settled := totals.take(SETTLED_PER_MESSAGE):
        try:
            await channel.ask("settled", (edge, settled), inf)
        except BaseException:
            totals.put_back()
            raise
        totals.taken()
