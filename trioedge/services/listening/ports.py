"""Which service listens at which port, and the faults of policies that name a listener which they may not have.

A port belongs to the service that names it, also while that service is disabled, because it is opened again when the
service is enabled. So what is accepted as a change is accepted as a whole as well, after a restart.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from ...addresses.address import Address
from ...addresses.open_ports import EXAMPLE, OpenPorts, listener_address, overlap
from ...errors import Faults, quote
from ..changes import ends_step
from ..policy import Policy

if TYPE_CHECKING:
    from ..snapshot import Change

T = TypeVar("T")

Meet: TypeAlias = "Callable[[str, Sequence[str]], str | None]"
"""Gives the first of some listeners that a connect to a destination reaches, or None."""

_ByPort: TypeAlias = dict[int, dict[str, tuple[Address, ...]]]
"""Listeners by port and service."""

_NONE: Final[Mapping[str, tuple[Address, ...]]] = {}


def listen_faults(
    policy: Policy, path: str, open_ports: OpenPorts | None, own: Iterable[Address]
) -> Generator[str, None, None]:
    """Check that an edge lets a policy have its listeners.

    Args:
        policy: one whose fields are right, each for itself.
        path: of the service, as in ``services.shop``.
        open_ports: the listeners that policies of the edge may name; None for none.
        own: the addresses of the edge's ``listen=``.

    Yields:
        ``services.shop.listen[0] = 'tcp://0.0.0.0:80' is outside of open_ports tcp://0.0.0.0:20000-29999: …``.
    """
    if not policy.listen:
        return
    if open_ports is None:
        yield (
            f"{path}.listen = {quote(list(policy.listen))} cannot be: this edge lets no policy name listeners. Write "
            f"Edge(open_ports={EXAMPLE!r}), with the ports that you mean"
        )
        return
    for number, text in enumerate(policy.listen):
        address, wrong = listener_address(text), f"{path}.listen[{number}] = {quote(text)}"
        taken = next((each for each in own if overlap(address, each)), None)
        if taken is not None:
            yield f"{wrong} is {taken}, where the edge itself listens: choose another port"
        elif not open_ports.allow(address):
            yield f"{wrong} is outside of open_ports {open_ports}: choose a port there, or add this one"


class Ports:
    """The listeners and the destinations of all services, by port.

    An edge without ``open_ports=`` keeps nothing here, because no policy of it names a listener.

    Attributes:
        open_ports: the listeners that policies may name; None for none.
        own: the addresses of the edge's ``listen=``.
    """

    # `_listening` has each listener of each service under its port, `_leading` each destination that has a port. No
    # dict within them is empty. During a snapshot one port may be of two services: the one that it moves to, and the
    # one that has yet to change.
    __slots__ = ("_leading", "_listening", "_meet", "open_ports", "own")

    def __init__(
        self, open_ports: OpenPorts | None = None, own: Collection[Address] = (), meet: Meet = lambda *_: None
    ) -> None:
        """Start without services.

        Args:
            open_ports: the listeners that policies may name; None for none.
            own: the addresses of the edge's ``listen=``.
            meet: gives the listener that a destination reaches.
        """
        self.open_ports = open_ports
        self.own = own
        self._meet = meet
        self._listening: _ByPort = {}
        self._leading: dict[int, dict[str, str]] = {}

    def note(self, name: str, before: Policy | None, after: Policy | None) -> None:
        """Note that the policy of a service has changed; None before it is added and after it is removed."""
        if self.open_ports is None:
            return
        if before is not None:
            for port in _by_port(before):
                _drop(self._listening, port, name)
            if before.to is not None and (to := _port(before.to)) is not None:
                _drop(self._leading, to, name)
        if after is not None:
            for port, addresses in _by_port(after).items():
                self._listening.setdefault(port, {})[name] = addresses
            if after.to is not None and (to := _port(after.to)) is not None:
                self._leading.setdefault(to, {})[name] = after.to

    def faults(self, policy: Policy, path: str) -> Iterator[str]:
        """Check the listeners of one policy as :func:`listen_faults` does."""
        return listen_faults(policy, path, self.open_ports, self.own)

    def conflicts(self, changes: Collection[tuple["Change", object]], found: Faults) -> Generator[None, None, None]:
        """Note listeners that are of two services, and destinations that are listeners, in short steps.

        Args:
            changes: those of a snapshot, of policies without a fault of their own. Other services stay as they are.
            found: is given ``services.cafe.listen[0] = 'tcp://0.0.0.0:20001' is taken: services.shop has …``.
        """
        if self.open_ports is None:
            return
        claimed: _ByPort = {}
        changing = set[str]()
        for number, (change, _) in enumerate(changes):
            changing.add(change.name)
            listens = change.after is not None and change.after.policy.listen
            if change.after is not None and listens:
                for port, addresses in _by_port(change.after.policy).items():
                    claimed.setdefault(port, {})[change.name] = addresses
            if listens or ends_step(number):
                yield
        if not claimed and not self._listening:
            return
        for change, _ in changes:
            if change.after is not None:
                found.extend(self._shared(change.name, change.after.policy, claimed, changing))
                found.extend(self._led(change.name, change.after.policy.to, claimed, changing))
            yield
        for port in claimed:
            for name, to in tuple(self._leading.get(port, {}).items()):
                if name not in changing:
                    found.extend(self._led(name, to, claimed, changing))
                yield

    def _others(
        self, port: int, claimed: _ByPort, changing: Collection[str]
    ) -> Iterator[tuple[str, tuple[Address, ...]]]:
        """Give the listeners at a port once a snapshot is applied, with their services; first those that stay."""
        for each in self._listening.get(port, _NONE).items():
            if each[0] not in changing:
                yield each
        yield from claimed.get(port, _NONE).items()

    def _shared(self, name: str, policy: Policy, claimed: _ByPort, changing: Collection[str]) -> Iterator[str]:
        """Find listeners of one service that an earlier one of the snapshot has, or one that stays."""
        for number, text in enumerate(policy.listen):
            address = listener_address(text)
            for other, addresses in self._others(address.port, claimed, changing):
                if other == name:
                    break
                if (taken := next((each for each in addresses if overlap(address, each)), None)) is not None:
                    yield (
                        f"services.{name}.listen[{number}] = {quote(text)} is taken: services.{other} has the listener "
                        f"{taken}. Give one of them another port"
                    )

    def _led(self, name: str, to: str | None, claimed: _ByPort, changing: Collection[str]) -> Iterator[str]:
        """Find the listener that the destination of a service is."""
        if to is None or (port := _port(to)) is None:
            return
        for other, addresses in self._others(port, claimed, changing):
            if self._meet(to, [*map(str, addresses)]) is not None:
                yield (
                    f"services.{name} leads to {quote(to)}, where this edge listens for services.{other}: its sessions "
                    "would come back"
                )


def _by_port(policy: Policy) -> dict[int, tuple[Address, ...]]:
    """Give the listeners of a policy by port."""
    found: dict[int, tuple[Address, ...]] = {}
    for text in policy.listen:
        address = listener_address(text)
        found[address.port] = (*found.get(address.port, ()), address)
    return found


def _port(to: str) -> int | None:
    """Give the port of a destination; None for a local socket."""
    return int(to.rpartition(":")[2]) if to.lstrip().startswith("tcp:") else None


def _drop(index: dict[int, dict[str, T]], port: int, name: str) -> None:
    names = index[port]
    del names[name]
    if not names:
        del index[port]
