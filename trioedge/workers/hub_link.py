"""The link of a control plane in the control process, which acts on all workers together."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import trio

from ..addresses.source_prefix import parse_span
from ..loop.slices import Stepwise
from ..services.apply import SnapshotApplier
from ..services.applying.effects import Tally
from ..services.examine import Found
from ..services.linking.edge_link import EdgeLink
from ..services.registry import Registry
from ..services.services import Services
from ..services.snapshot import Plan, Snapshot
from .follower import Effect, FanOut, Row, ServiceFollower, summed
from .messages.frames import ChannelError
from .messages.packed import pack_settings
from .pooled_devices import PooledDevices
from .sums import Sums

if TYPE_CHECKING:
    from ..telemetry.log import EdgeLog

LAG_SECONDS: Final = 2.0
"""How long the applying of a snapshot waits for the workers."""


class HubLink(EdgeLink):
    """The :class:`Link` of an edge that several workers serve.

    Attributes:
        devices: the device table; None where the chain has none. The hub sets it.
    """

    def __init__(
        self, applier: SnapshotApplier, services: Services, live: Registry, sums: Sums, fan_out: FanOut,
        evict: Callable[[str | None, str | None, str | None], object], apart: Callable[[], list[int]],
        log: "EdgeLog",
    ) -> None:  # fmt: skip
        """Join the parts of an edge that its control plane acts on; the first three as :class:`EdgeLink` does.

        Args:
            applier: applies snapshots here.
            services: every service.
            live: no session.
            sums: what the workers say of services.
            fan_out: the workers that follow the services.
            evict: has every worker cut sessions, by service, source and device.
            apart: gives the numbers of the workers that do not follow the services now.
            log: names workers that lag behind.
        """
        super().__init__(applier, services, live)
        self._sums, self._fan_out, self._evict, self._apart, self._log = sums, fan_out, evict, apart, log
        self.devices: PooledDevices | None = None

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        """Apply a snapshot here, and wait until the workers have applied it, 2 s at most; see :meth:`Link.apply`.

        The counts of sessions in the plan are those of the workers that have. A worker that has not is named in the
        log, and applies the snapshot later; `missing` counts it.
        """
        before = self._effect()
        plan = await super().apply(snapshot)
        late = await self._wait_for_workers() if plan else 0
        retuned, rechecked, evicted = (max(now - then, 0) for now, then in zip(self._effect(), before, strict=True))
        return attrs.evolve(plan, retuned=retuned, rechecked=rechecked, evicted=evicted, missing=late)

    async def plan(self, snapshot: Snapshot, /) -> Plan:
        """Say what a snapshot would do to the services, and to the sessions of the workers; nothing changes.

        A worker that does not follow the services now, or does not answer within 10 s, is named in the log; its
        sessions are not counted, and `missing` counts it.

        Raises:
            SnapshotError: it has faults.
        """
        rows, surplus = list[Row](), dict[str, list[str]]()
        plan = await self._applier.plan(snapshot, partial(self._pack, rows, surplus))
        effects: list[Effect] = []
        lacking = self._apart()
        async with trio.open_nursery() as nursery:
            for each in self._following():
                nursery.start_soon(self._foresee, each, rows, surplus, effects, lacking)
        if lacking:
            self._log.notice("a plan lacks the sessions of workers", workers=sorted(lacking))
        retuned, rechecked, evicted = summed(effects)
        return attrs.evolve(plan, retuned=retuned, rechecked=rechecked, evicted=evicted, missing=len(lacking))

    def _pack(self, rows: list[Row], surplus: dict[str, list[str]], found: Found, tally: Tally) -> Stepwise[None]:
        """Note changes, and have the rows of services that they change or remove, and their surplus devices."""
        while found:
            change, _ = found.popleft()
            tally.note(change)
            service = self._services.get(change.name)
            if service is not None:
                pieces = None if change.after is None else (yield from pack_settings(change.after))
                rows.append((change.name, service.incarnation, False, None if pieces is None else tuple(pieces)))
                if self.devices is not None and change.after is not None:
                    stands = self.devices.table.surplus(service, change.after)
                    surplus[change.name] = [*{each.device: None for each in stands if each.device is not None}]
            yield

    async def _foresee(
        self, follower: ServiceFollower, rows: Sequence[Row], surplus: Mapping[str, Sequence[str]],
        effects: list[Effect], lacking: list[int],
    ) -> None:  # fmt: skip
        try:
            effects.append(await follower.foresee(rows, surplus))
        except ChannelError:
            lacking.append(follower.worker)

    def evict(self, *, service: str | None = None, source: str | None = None, device: str | None = None) -> int:
        """Have every worker cut the live sessions that match everything named; see :meth:`Link.evict`.

        Returns:
            What the control process knows of them before they are cut. With a device the number of workers in which it
            is online. With a service alone its sessions, as the workers reported them last, at most a second ago. With
            a service and a source the sources that match and that workers have named. 0 in all other cases, because no
            sessions are counted by source here.
        """
        if service is None and source is None and device is None:
            raise TypeError("link.evict() needs a service, a source or a device")
        if device is not None and service is None:
            raise TypeError("a device is looked up within a service: name the service too")
        span = None if source is None else parse_span(source)
        self._evict(service, source, device)
        if service is None:
            return 0
        if device is not None:
            return 0 if self.devices is None else self.devices.workers_of(service, device)
        found = self._services.named(service)
        if span is None:
            return sum(each.live for each in found)
        first, last = span
        keys = (key for each in found for key in self._sums.keys(each))
        return sum(self._live.source_prefix.key(first) <= key <= last and len(key) == len(first) for key in keys)

    def online(self, service: str, /) -> Sequence[str]:
        """Return the devices of a service that are online in any worker, the oldest first; see :meth:`Link.online`.

        On an edge without a :class:`DeviceLimit`: its sources, as the workers named them last, up to 1,000 of each.
        """
        if self._services.device_judge is not None:
            return super().online(service)
        found = self._services.get(service)
        return () if found is None else [*map(self._live.source_prefix.text, self._sums.keys(found))]

    async def _wait_for_workers(self) -> int:
        """Wait until the workers have applied all changes, and give the number of those that have not in time."""
        following = self._following()
        with trio.move_on_after(LAG_SECONDS):
            for each in following:
                await each.caught_up()
        if late := [each.worker for each in following if each.lags]:
            self._log.notice("workers lag behind the services", workers=late)
        return len(late) + len(self._apart())  # those that have hung up meanwhile are apart

    def _following(self) -> list[ServiceFollower]:
        """Give the workers that have the services."""
        return [each for each in self._fan_out.followers if each.follows]

    def _effect(self) -> Effect:
        return summed(each.effect for each in self._fan_out.followers)
