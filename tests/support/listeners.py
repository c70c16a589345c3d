"""Listeners whose opening a test decides."""

from trioedge.addresses.address import Address, parse_address
from trioedge.addresses.open_ports import overlap
from trioedge.errors import ListenError
from trioedge.services.service import Service
from trioedge.serving.listening.rehearsed_listeners import RehearsedListeners


class ScriptedListeners(RehearsedListeners):
    """Listeners without sockets, which fail to open at the addresses that are taken.

    Attributes:
        taken: texts of addresses that cannot be opened, each with the reason.
        calls: every call so far, as ``open tcp://0.0.0.0:1 shop``.
    """

    __slots__ = ("calls", "taken")

    def __init__(self, **taken: str) -> None:
        super().__init__()
        self.taken = {f"tcp://0.0.0.0:{port.removeprefix('port_')}": why for port, why in taken.items()}
        self.calls: list[str] = []

    def open(self, address: Address, service: Service) -> None:
        self.calls.append(f"open {address} {service.name}")
        if (why := self.taken.get(str(address))) is not None:
            raise ListenError(f"cannot listen on {address}: {why}")
        if any(overlap(address, each) for each in self.services if each != address):  # as the kernel has it
            raise ListenError(f"cannot listen on {address}: in use")
        super().open(address, service)

    def release(self, address: Address) -> None:
        self.calls.append(f"release {address}")
        super().release(address)

    def close(self, address: Address) -> None:
        self.calls.append(f"close {address}")
        super().close(address)

    def holders(self) -> dict[int, str | None]:
        """Return the ports that are open, with the names of their services; None for one that is released."""
        return {address.port: None if service is None else service.name for address, service in self.services.items()}

    def tries(self, port: int) -> int:
        """Return how often a port was to be opened."""
        return sum(each.startswith(f"open {parse_address(f'tcp://0.0.0.0:{port}')} ") for each in self.calls)
