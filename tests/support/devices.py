"""Services with devices, and a caller of the device table that does what the table says."""

from trioedge.services.device_rules import DeviceRules
from trioedge.services.service import Service
from trioedge.services.services import Services
from trioedge.services.snapshot import Change
from trioedge.session.meter import Total
from trioedge.session.session import Session
from trioedge.stages.devices.answers import Admission, DeviceChange, DeviceEntry
from trioedge.stages.devices.grace import Grace
from trioedge.stages.devices.memory import TICK
from trioedge.stages.devices.table import DeviceTable
from trioedge.testing import make_session


class Tenants:
    """The services of one edge without a control plane; a name is a service from its first use on."""

    def __init__(self) -> None:
        self.services = Services(Total(), Total(), governed=False)

    def __getitem__(self, name: str) -> Service:
        found = self.services.find(name)
        assert isinstance(found, Service)
        return found

    def remove(self, name: str) -> Service:
        """Remove a service; the name is another service from now on."""
        service = self[name]
        return self.services.apply(Change(name, service.settings, None), None)


def make_service(name: str = "a") -> Service:
    """Make a service of an edge of its own."""
    return Tenants()[name]


def online(table: DeviceTable, service: Service) -> int:
    """Count the devices of a service with a live session."""
    owner = table._services.get(service.incarnation)
    return 0 if owner is None else len(owner.online)


def in_grace(table: DeviceTable, service: Service) -> int:
    """Count the devices of a service that are in their grace."""
    owner = table._services.get(service.incarnation)
    return 0 if owner is None else owner.pool.devices


def remembered(table: DeviceTable) -> int:
    """Count the devices in memory."""
    return table.memory.size


class TableCaller:
    """A device table and its caller, which lets time pass. The device names are those of service `a`."""

    def __init__(
        self,
        rules: DeviceRules = DeviceRules(),  # noqa: B008 - frozen
        grace: Grace = Grace(),  # noqa: B008 - frozen
        capacity: int = 100,
        *,
        checked: bool = True,
    ) -> None:
        self.table = DeviceTable(grace, capacity, checked=checked)
        self.tenants = Tenants()
        self.rules = rules
        self.now = 0.0

    @property
    def a(self) -> Service:
        return self.tenants["a"]

    @property
    def remembered(self) -> int:
        return remembered(self.table)

    def online(self, service: str = "a") -> int:
        return online(self.table, self.tenants[service])

    def in_grace(self, service: str = "a") -> int:
        return in_grace(self.table, self.tenants[service])

    def enter(self, device: str, service: str = "a", source: str = "192.0.2.1") -> tuple[DeviceEntry, Session]:
        session = make_session(source)
        return self.table.enter(self.tenants[service], device, session, self.now, self.rules), session

    def admission(self, device: str, service: str = "a") -> Admission:
        return self.enter(device, service)[0].admission

    def leave(self, device: str, session: Session) -> None:
        self.table.leave(self.a, device, session)

    def answer(self, device: str, accept: bool = True, seconds: float = 60.0, detail: str = "") -> DeviceChange:
        return self.table.answer(self.a, device, accept, seconds, self.now, detail)

    def judge(self, device: str, accept: bool = True, seconds: float = 60.0, detail: str = "") -> DeviceChange:
        return self.table.judge(self.a, device, accept, seconds, self.now, detail)

    def failed(self, device: str) -> bool:
        return self.table.failed(self.a, device)

    def know(self, *devices: str, accept: bool = True, seconds: float = 1e6) -> None:
        """Have a verdict on each of these devices."""
        for device in devices:
            self.answer(device, accept, seconds)

    def put_online(self, *devices: str) -> list[Session]:
        """Accept each of these devices for long, with one session each."""
        self.know(*devices)
        return [self.enter(device)[1] for device in devices]

    def at(self, now: float) -> list[DeviceChange]:
        """Let time pass until a tick after `now`, and handle every deadline when it is due."""
        changes: list[DeviceChange] = []
        while (due := self.table.next_due()) <= now + TICK:
            self.now = max(self.now, due)
            changes += filter(None, [self.table.expire(self.now, lambda _: self.rules)])
        self.now = now + TICK
        return changes

    def recheck(self, rules: DeviceRules) -> list[DeviceChange]:
        self.rules = rules
        return list(filter(None, self.table.recheck(self.a, self.now, rules)))

    def change(
        self, device: str, *evict: Session, check: bool = False, cause: Admission = Admission.ADMITTED
    ) -> DeviceChange:
        """Make the answer of the table that a test expects."""
        return DeviceChange(self.a, device, check, evict, cause)
