"""The listening sockets of one run of an edge, all of them in this process."""

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...addresses.address import Address
from ...addresses.listening import ListeningAddresses
from ...errors import ListenError
from ...loop.reactor import Reactor
from ...services.service import Service
from ...telemetry.log import EdgeLog
from .bind import Bound, bind, listen_error
from .listener import Admit, Listener, Shed
from .reserve import Reserve

if TYPE_CHECKING:
    from ..part import ParentSockets


class ProcessListeners(ListeningAddresses):
    """The listeners of one run: the edge's own, and those of services; see :class:`Listeners`.

    Attributes:
        own: the addresses of the edge's own sockets, those of TCP as numbers.
        opened: how many listeners of services have been opened so far.
        elsewhere: how many of the services' addresses another worker accepts on.
    """

    # `_of_services` has the open listeners of services, and `_elsewhere` those that another worker accepts on. The
    # sequence of addresses has both, and the edge's own.
    __slots__ = ("_admit", "_elsewhere", "_keepalive_seconds", "_log", "_max_opened", "_of_services", "_own",
                 "_reactor", "_reserve", "_shed", "_sockets", "opened", "own")  # fmt: skip

    _reactor: Reactor
    _log: EdgeLog
    _admit: Admit
    _shed: Shed
    _max_opened: int

    def __init__(
        self, bound: Sequence[Bound], *, keepalive_seconds: float, sockets: "ParentSockets | None" = None
    ) -> None:
        """Accept nothing yet.

        Args:
            bound: the edge's own sockets; the caller closes them too.
            keepalive_seconds: for clients of the listeners of services, as in :func:`bind`.
            sockets: keeps the sockets of several workers; None for a process alone.

        Raises:
            ListenError: the process has no file descriptor left for the reserve.
        """
        super().__init__(each.address for each in bound)
        self._keepalive_seconds = keepalive_seconds
        self._sockets = sockets
        self._elsewhere: set[Address] = set()
        self._reserve = Reserve()
        self._own = [Listener(each, self._reserve) for each in bound]
        self.own = ListeningAddresses(map(_numeric, bound))
        self._of_services: dict[Address, Listener] = {}
        self.opened = 0

    def listen(self, reactor: Reactor, log: EdgeLog, admit: Admit, shed: Shed, max_opened: int) -> None:
        """Listen on the edge's own addresses; from now on services may have listeners.

        Args:
            reactor: reports connections that wait.
            log: logs pauses.
            admit: takes each connection.
            shed: counts a connection that was refused for want of a file descriptor.
            max_opened: the most listeners of services at a time.

        Raises:
            ListenError: another process listens there since an address was bound.
        """
        self._reactor, self._log, self._admit, self._shed, self._max_opened = reactor, log, admit, shed, max_opened
        for listener in self._own:
            listener.open(reactor, log, admit, shed)

    def open(self, address: Address, service: Service) -> None:
        """See :meth:`Listeners.open`."""
        if self._sockets is not None and not self._sockets.has(address):
            self._elsewhere.add(address)
            self.add(address)
            return
        listener = self._of_services.get(address)
        try:
            if listener is None:
                self._of_services[address] = self._opened(address, service)
                self.add(address)
                self.opened += 1
            else:
                listener.give(service)
        except OSError as error:
            raise listen_error(address, error) from None

    def _opened(self, address: Address, service: Service) -> Listener:
        if len(self._of_services) >= self._max_opened:
            raise ListenError(
                f"cannot listen on {address}: services have {len(self._of_services):,} listeners, as many as the limit "
                "of open files allows; raise it with ulimit -n"
            )
        bound = None if self._sockets is None else self._sockets.take(address)
        if bound is None:
            (bound,) = bind([address], keepalive_seconds=self._keepalive_seconds)
        listener = Listener(bound, self._reserve, service)
        try:
            listener.open(self._reactor, self._log, self._admit, self._shed)
            if self._sockets is not None:
                self._sockets.keep(address, bound.sock.fileno())
        except BaseException:
            listener.close()
            raise
        return listener

    @property
    def elsewhere(self) -> int:
        return len(self._elsewhere)

    def release(self, address: Address) -> None:
        """See :meth:`Listeners.release`."""
        if (listener := self._of_services.get(address)) is not None:
            listener.release()

    def close(self, address: Address) -> None:
        """See :meth:`Listeners.close`."""
        if address in self._elsewhere:
            self._elsewhere.remove(address)
            self.discard(address)
        if (listener := self._of_services.pop(address, None)) is not None:
            listener.close()
            self.discard(address)
            if self._sockets is not None:
                self._sockets.forget(address)

    def close_own(self) -> None:
        """Close the edge's own; their addresses stay in the sequence."""
        for listener in self._own:
            listener.close()

    def close_all(self) -> None:
        """Close every listener and the reserve, at once; a second call does nothing."""
        self.close_own()
        for address in tuple(self._of_services):
            self.close(address)
        self._reserve.close()


def _numeric(bound: Bound) -> Address:
    if bound.address.scheme == "unix":
        return bound.address
    host, port, *_ = bound.sock.getsockname()
    return Address("tcp", str(ipaddress.ip_address(host.partition("%")[0])), port)
