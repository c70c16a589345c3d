"""All listeners of one run of an edge: its own, and those that policies name."""

from collections.abc import Callable
from typing import TypeAlias

import trio

from ...addresses.address import Address, parse_address
from ...addresses.open_ports import OpenPorts
from ...errors import ConfigurationError, Faults
from ...loop.reactor import Reactor
from ...loop.slices import in_slices
from ...services.listening.listeners import Listeners
from ...services.listening.ports import Ports
from ...services.service import Service
from ...services.services import Services
from ...telemetry.log import EdgeLog
from ...upstreams.own_listeners import own_listener, reached
from .listener import Admit, Shed
from .process_listeners import ProcessListeners
from .rehearsed_listeners import RehearsedListeners
from .service_listeners import ServiceListeners

AnyListeners: TypeAlias = ProcessListeners | RehearsedListeners


class Listening:
    """The listeners of one run. With ``open_ports=`` they follow the services."""

    def __init__(
        self,
        listeners: AnyListeners,
        services: Services,
        open_ports: OpenPorts | None,
        log: EdgeLog,
        tell: Callable[[Service], object],
    ) -> None:
        """Accept nothing yet, and have snapshots with a listener that cannot be refused from now on.

        Args:
            listeners: opens them; the caller closes them whatever happens.
            services: of the run.
            open_ports: the listeners that policies may name; None for none.
            log: logs the beginning, and listeners that cannot be opened.
            tell: called with a service when its `listen_errors` have changed.
        """
        self._listeners = listeners
        self._log = log
        self._opener = ServiceListeners(listeners, log, tell)
        self._opens_ports = open_ports is not None
        own = [parse_address(each, listening=True) for each in listeners.own]
        services.ports = Ports(open_ports, own, reached)
        if self._opens_ports:
            services.watch(self._opener)

    @property
    def addresses(self) -> Listeners:
        """See :attr:`EdgeContext.listeners`."""
        return self._listeners

    def own(self, destination: object) -> str | None:
        """Give the listener of the edge's own that a destination reaches, or None."""
        return own_listener(destination, self._listeners.own)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Try again those that cannot be opened, until cancelled."""
        await self._opener.run(task_status=task_status)

    async def begin(self, reactor: Reactor, admit: Admit, shed: Shed, max_opened: int) -> None:
        """Listen on the edge's own addresses, and then in slices on those of services.

        After a cancel some are listened on; the caller closes them.

        Args:
            reactor: reports connections that wait.
            admit: takes each connection.
            shed: counts a connection that was refused for want of a file descriptor.
            max_opened: the most listeners of services at a time.

        Raises:
            ListenError: another process listens on an address of the edge's own since it was bound.
        """
        self._listeners.listen(reactor, self._log, admit, shed, max_opened)
        addresses = [*self._listeners]
        await in_slices(self._opener.begin())
        if self._opens_ports:
            self._log.say("listening", addresses=addresses, of_services=self._opener.open)
        elif addresses:
            self._log.say("listening", addresses=addresses)

    async def end(self) -> None:
        """Close the edge's own at once, and then in slices those of services."""
        self._listeners.close_own()
        await in_slices(self._opener.end(), rest=0)

    @property
    def open(self) -> int:
        """How many listeners that policies name are open in this process."""
        return self._opener.open

    @property
    def failing(self) -> int:
        """How many of them cannot be opened now."""
        return self._opener.failing

    @property
    def errors(self) -> Faults:
        """Why these are not open."""
        return self._opener.errors

    def service_at(self, address: Address) -> Service:
        """Give the service whose listener is open at an address, in a rehearsal.

        Raises:
            ConfigurationError: none is.
        """
        services = self._listeners.services if isinstance(self._listeners, RehearsedListeners) else {}
        service = services.get(address)
        if service is None:
            raise ConfigurationError(f"no policy names the listener {address}, or its service is disabled")
        return service
