"""Open and close the listeners that policies name, and try again those that cannot be opened.

| a listener | event | action | then |
| --- | --- | --- | --- |
| - | a service takes it | open it | open, or failing |
| open, failing | another service takes it | the same socket, or a try | open, or failing |
| open | its service releases it | accept no client | released |
| released | a service takes it | accept again | open |
| released | the snapshot is applied | close it | - |
| failing | its pause ends, 1 to 30 s | try again | open, or failing with a longer pause |
| failing | a listener of its port is closed | try again | open, or failing with a longer pause |
| failing | its service releases it | forget it | - |
| any | the edge drains, or ends | close it | - |

:mod:`.claims` knows which service takes what. Nothing is opened before :meth:`ServiceListeners.begin`, because a port
that accepts clients tells health checks that the edge is ready.
"""

import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Final

import attrs
import trio
from trio_util import AsyncBool

from ...addresses.address import Address
from ...errors import Faults, ListenError
from ...loop.slices import Stepwise, in_slices
from ...services.listening.listeners import Listeners
from ...services.service import Service
from ...services.snapshot import Change
from ...structures.backoff import Backoff
from ...telemetry.log import EdgeLog
from .claims import Claims, wanted

FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 30.0
"""The pauses between two tries to open a listener."""


@attrs.define(eq=False)
class _Failing:
    """A listener that cannot be opened now."""

    service: Service
    error: str
    backoff: Backoff
    due: float = 0.0


class ServiceListeners:
    """The listeners that the policies of one run name. It watches the services, and has a worker that tries again."""

    # `_failing` has the addresses that are taken and not open. `_due` has each of them at the time of its next try, and
    # maybe some that are not due then, or not failing any more.
    __slots__ = ("_claims", "_due", "_earlier", "_failing", "_listeners", "_log", "_numbers", "_opens", "_random",
                 "_tell")  # fmt: skip

    def __init__(
        self, listeners: Listeners, log: EdgeLog, tell: Callable[[Service], object],
        random: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        """Open nothing yet.

        Args:
            listeners: opens and closes them.
            log: logs each listener once that cannot be opened.
            tell: called with a service whose `listen_errors` have changed.
            random: gives floats in [0, 1), for the pauses.
        """
        self._listeners = listeners
        self._log = log
        self._tell = tell
        self._random = random
        self._claims = Claims()
        self._failing: dict[Address, _Failing] = {}
        self._due: list[tuple[float, int, Address]] = []
        self._numbers = count()
        self._earlier = AsyncBool()  # True when a try is due earlier than the worker knows
        self._opens = False

    @property
    def open(self) -> int:
        """How many listeners are open in this process."""
        return len(self._claims) - len(self._failing) - self._listeners.elsewhere if self._opens else 0

    @property
    def failing(self) -> int:
        """How many cannot be opened now."""
        return len(self._failing)

    @property
    def errors(self) -> Faults:
        """Why these are not open, a line each."""
        found = Faults()
        found.extend(each.error for each in self._failing.values())
        return found

    def changed(self, service: Service, change: Change) -> Stepwise[None]:
        """Follow the change of a service, a listener in each step."""
        for address in self._claims.follow(service, change):
            self._apply(address)
            yield

    def settle(self) -> Stepwise[None]:
        """Close what no service has taken now that a snapshot is applied, a listener in each step."""
        closed = set[int]()
        while (address := self._claims.free()) is not None:
            self._listeners.close(address)
            closed.add(address.port)
            yield
        for address in tuple(self._failing) if closed else ():
            if address.port in closed and address in self._failing:  # maybe what was closed was in its way
                self._apply(address)
            yield

    def begin(self) -> Stepwise[None]:
        """Open the listeners of all services, one in each step; from now on they follow the services."""
        self._opens = True
        for address in self._claims:
            self._apply(address)
            yield

    def end(self) -> Stepwise[None]:
        """Close all, one in each step; from now on none is opened."""
        self._opens = False
        self._failing.clear()
        yield from self.settle()
        for address in self._claims:
            self._listeners.close(address)
            yield

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Try again those that cannot be opened, until cancelled; sleeps while there is none."""
        task_status.started()
        while True:
            with trio.move_on_at(self._due[0][0] if self._due else inf):
                await self._earlier.wait_value(True)
            self._earlier.value = False
            await in_slices(self._try_again(trio.current_time()))

    def _try_again(self, now: float) -> Stepwise[None]:
        while self._due and self._due[0][0] <= now:
            _, _, address = heappop(self._due)
            failing = self._failing.get(address)
            if failing is not None and failing.due <= now:
                self._apply(address)
            yield

    def _apply(self, address: Address) -> None:
        """Bring one listener into the state that the services want now."""
        if not self._opens:
            return
        service = self._claims.owner(address)
        if service is None:
            self._listeners.release(address)
            self._forget(address)
            return
        try:
            self._listeners.open(address, service)
        except ListenError as error:
            self._fail(address, service, str(error))
            return
        if self._forget(address):
            self._log.say("listener is open after all", listener=str(address), service=service.name)

    def _fail(self, address: Address, service: Service, error: str) -> None:
        failing = self._failing.get(address)
        if failing is None:
            backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, self._random)
            failing = self._failing[address] = _Failing(service, error, backoff)
            self._log.notice("listener not open, and tried again", error=error, of=service.name)
        former, failing.service, failing.error = failing.service, service, error
        failing.due = trio.current_time() + failing.backoff.failed()
        heappush(self._due, (failing.due, next(self._numbers), address))
        if self._due[0][2] == address:
            self._earlier.value = True
        for each in {former, service}:
            self._note(each)

    def _forget(self, address: Address) -> bool:
        """Note that a listener fails no more; return whether it did."""
        failing = self._failing.pop(address, None)
        if failing is not None:
            self._note(failing.service)
        return failing is not None

    def _note(self, service: Service) -> None:
        """Have a service know its listeners that cannot be opened."""
        errors = tuple(
            failing.error
            for address in wanted(service.settings)
            if (failing := self._failing.get(address)) is not None and failing.service is service
        )
        if errors != service.listen_errors:
            service.listen_errors = errors
            if not service.removed:
                self._tell(service)
