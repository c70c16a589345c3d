"""The devices of all workers in the control process: one session stands for each device that a worker has online.

| a device of a worker | event | action |
| --- | --- | --- |
| offline | it comes online | enter it into the table; tell the worker the verdict, once there is one |
| online | the table cuts it | tell the worker, which cuts its sessions |
| online | another verdict on it | tell the worker |
| online | it goes | its session ends |
| online | the worker asks, because its verdict has expired | tell the verdict; the checker is asked if it is stale |
| online | the worker is back after a lost connection, and does not tell of it | its session ends |
| online | the worker is lost for some seconds | its session ends |
| any | the control plane judges it | tell every worker |

So a worker's device is online here exactly while it is online there, but for the time that a message takes.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from math import isinf
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from ..services.service import Service
from ..services.services import Services
from ..session.session import Session
from ..session.verdict import CONTINUE, Reason, Reject
from ..stages.devices.device_limit import DeviceLimit
from ..structures.dirty_set import DirtySet

if TYPE_CHECKING:
    from ..services.context import EdgeContext

LEASE_SECONDS: Final = 60.0
"""How long a worker uses an acceptance that does not expire; then it asks again."""

STALE_SECONDS: Final = 5.0
"""How long a worker uses an acceptance that is stale, and being checked again."""

REFUSED_SECONDS: Final = 1.0
"""How long a worker refuses a device for which there is no place, before it asks again."""

_UNCHECKED: Final = "not checked yet"

MAX_ASKED: Final = 1_024
"""Devices that are offline and for whose verdict one worker waits."""

Told: TypeAlias = tuple[str, str, bool, bool]
"""What a worker says of a device: its service, its name, whether it is online, and whether it asks for a verdict."""

Judged: TypeAlias = tuple[str, str, str, float, str]
"""A verdict for a worker: service, device, ``accept``, ``deny``, ``refuse`` or ``unknown``, seconds, and the reason."""

_Key: TypeAlias = tuple[Service, str]


class Stand:
    """Stands for the sessions of one device in one worker; to the device table it is a session.

    Attributes:
        service: of the device.
        device: its name.
        allowance: of its grace, which the worker has, too.
        source_key: the device, because grace places are shared among networks.
        source_bytes: the same.
        index: none, because it is in no registry.
    """

    __slots__ = ("_leave", "_on_cut", "_refresh", "allowance", "cut_reason", "device", "index", "service",
                 "source_bytes", "source_key")  # fmt: skip

    def __init__(
        self, service: Service, device: str, refresh: Callable[[], float], on_cut: Callable[[], object]
    ) -> None:
        """Be online nowhere yet.

        Args:
            service: of the device.
            device: its name.
            refresh: gives the time.
            on_cut: called when the table cuts it.
        """
        self.service, self.device = service, device
        self._refresh, self._on_cut = refresh, on_cut
        self.source_key = self.source_bytes = device
        self.allowance: Any = None
        self.cut_reason: Reason | None = None
        self.index = None
        self._leave: Callable[[Any], object] | None = None

    @property
    def now(self) -> float:
        """The time."""
        return self._refresh()

    def defer(self, leave: Callable[[Any], object]) -> None:
        """Have `leave` called at the end."""
        self._leave = leave

    def mark_cut(self, reason: Reason, detail: str = "") -> bool:  # noqa: ARG002 - a session's shape
        """Note that the table has cut it. False if it was cut already."""
        if self.cut_reason is not None:
            return False
        self.cut_reason = reason
        return True

    def carry_out_cut(self) -> None:
        """End it, because the table has cut it."""
        self._on_cut()
        self.end()

    def end(self) -> None:
        """End it: the device has gone, or was cut."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave(self)


class _Share:
    """The devices of one worker."""

    __slots__ = ("asked", "confirmed", "dirty", "refused", "stands", "wake")

    def __init__(self) -> None:
        self.stands: dict[_Key, Stand] = {}
        self.asked: OrderedDict[_Key, None] = OrderedDict()
        """Devices that are offline, and whose next verdict it is to be told."""
        self.refused: dict[_Key, str] = {}
        """Why devices were refused that the worker has yet to be told of."""
        self.dirty: DirtySet[_Key] = DirtySet()
        """Devices of which the worker is to be told the verdict, if there is one."""
        self.confirmed: set[_Key] | None = None
        """Devices that it has told of since it is connected; None once it has told of all."""
        self.wake: Callable[[], object] = lambda: None

    def mark(self, key: _Key) -> None:
        self.dirty.mark(key)
        self.wake()


class PooledDevices:
    """The one device table of an edge, and the share of each worker."""

    def __init__(self, recipe: DeviceLimit, context: "EdgeContext", services: Services) -> None:
        """Open the table, without devices.

        Args:
            recipe: the device limit of the chain.
            context: of the edge in the control process.
            services: of the edge.
        """
        self._services = services
        self._refresh = context.now
        self._shares: dict[Hashable, _Share] = {}
        self.table = recipe.open_pool(context, self._changed, self._judged)

    def connected(self, worker: Hashable, wake: Callable[[], object]) -> None:
        """Expect a worker to tell of all its devices; those of an earlier connection that it leaves out have gone.

        Args:
            worker: of this process until :meth:`lost`.
            wake: called when there is a verdict for it.
        """
        share = self._shares.setdefault(worker, _Share())
        share.confirmed = set()
        share.wake = wake

    def told(self, worker: Hashable, rows: Iterable[Told]) -> None:
        """Take what a worker says of devices. Some 10 µs for each."""
        share = self._shares[worker]
        for name, device, online, asks in rows:
            service = self._services.find(name) if not self._services.governed else self._services.get(name)
            if service is None or isinstance(service, Reject):
                continue
            key = service, device
            if share.confirmed is not None and online:
                share.confirmed.add(key)
            if online and key not in share.stands:
                self._enter(worker, share, key)
                share.mark(key)
            elif not online:
                self._leave(share, key)
            if asks:
                self._ask(share, key, online=online)

    def told_all(self, worker: Hashable) -> None:
        """End the devices that a worker did not tell of since it is connected, because they have gone."""
        share = self._shares[worker]
        confirmed, share.confirmed = share.confirmed, None
        for key in [key for key in share.stands if confirmed is not None and key not in confirmed]:
            self._leave(share, key)

    def lost(self, worker: Hashable) -> None:
        """End the devices of a worker that is lost."""
        share = self._shares.pop(worker, None)
        if share is not None:
            for key in list(share.stands):
                self._leave(share, key)

    def take(self, worker: Hashable, count: int) -> list[Judged]:
        """Give up to so many verdicts that a worker is to be told, as they are now."""
        share = self._shares[worker]
        found = []
        for key in share.dirty.take(count):
            share.dirty.done(key)
            if (judged := self._verdict(share, key)) is not None:
                found.append(judged)
        return found

    def waits(self, worker: Hashable) -> bool:
        """Tell whether there may be verdicts for a worker."""
        return worker in self._shares and len(self._shares[worker].dirty) > 0

    def workers_of(self, service: str, device: str) -> int:
        """Count the workers in which a device is online."""
        found = self._services.get(service)
        return 0 if found is None else sum((found, device) in each.stands for each in self._shares.values())

    def _enter(self, worker: Hashable, share: _Share, key: _Key) -> None:
        stand = Stand(*key, self._refresh, partial(self._cut, worker, key))
        share.stands[key] = stand
        verdict = self.table.decide(cast(Session, stand))
        if verdict is not CONTINUE:
            share.stands.pop(key, None)
            share.refused[key] = verdict.detail if isinstance(verdict, Reject) else ""

    def _leave(self, share: _Share, key: _Key) -> None:
        stand = share.stands.pop(key, None)
        if stand is not None:
            stand.end()

    def _cut(self, worker: Hashable, key: _Key) -> None:
        share = self._shares.get(worker)
        if share is not None and share.stands.pop(key, None) is not None and not key[0].removed:
            share.refused[key] = "another device took its place, or the limit is lower"
            share.mark(key)

    def _ask(self, share: _Share, key: _Key, *, online: bool) -> None:
        """Answer with the verdict now; and if it is stale, also with the next one."""
        self.table.refresh(*key)
        standing = self.table.standing(*key)
        if not online and standing.accepts is None:
            share.refused[key] = _UNCHECKED  # so that the worker ends its question
        elif not online and not standing.seconds:
            share.asked[key] = None
            if len(share.asked) > MAX_ASKED:
                share.asked.popitem(last=False)
        share.mark(key)

    def _changed(self, service: Service, device: str) -> None:
        key = service, device
        for share in self._shares.values():
            if key in share.stands or key in share.asked or key in share.refused:
                share.asked.pop(key, None)
                share.mark(key)

    def _judged(self, service: Service, device: str) -> None:
        for share in self._shares.values():
            share.mark((service, device))

    def _verdict(self, share: _Share, key: _Key) -> Judged | None:
        """Give what a worker is to be told of a device; None if there is no verdict yet."""
        service, device = key
        if service.removed:
            return None
        refused = share.refused.pop(key, None)
        standing = self.table.standing(service, device)
        if standing.accepts is False:
            return service.name, device, "deny", max(standing.seconds, REFUSED_SECONDS), standing.detail
        if refused is _UNCHECKED and key not in share.stands:
            return service.name, device, "unknown", 0.0, refused
        if refused is not None and key not in share.stands:
            return service.name, device, "refuse", REFUSED_SECONDS, refused
        if standing.accepts is None:
            return None
        seconds = standing.seconds or STALE_SECONDS
        return service.name, device, "accept", LEASE_SECONDS if isinf(seconds) else seconds, ""
