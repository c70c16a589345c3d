"""Names to addresses, from memory. Only the first session ever to a name can meet one that is not known yet.

An answer is used for :data:`FRESH_SECONDS`; after that it is still used, while a worker asks anew. A failure is
remembered for :data:`FAILED_SECONDS`, unless an older answer is there to go on with.
"""

import socket
from collections.abc import Callable, Sequence
from math import inf
from typing import Final, TypeAlias

import trio

from ..core.address import Address
from ..core.errors import UpstreamError
from ..core.verdict import Reason
from .reactor import Reactor
from .wakeup import Wakeup

FRESH_SECONDS: Final = 30.0
FAILED_SECONDS: Final = 1.0
QUERY_SECONDS: Final = 3.0

SocketAddress: TypeAlias = tuple[socket.AddressFamily, object]
Answer: TypeAlias = Sequence[SocketAddress] | UpstreamError
OnAnswer: TypeAlias = Callable[[Answer], object]


class _Name:
    """What is known of one destination."""

    __slots__ = ("answer", "asking", "good_until", "waiting")

    def __init__(self, local: SocketAddress | None) -> None:
        self.answer: Answer | None = None if local is None else (local,)
        self.good_until = 0.0 if local is None else inf
        self.asking = False
        self.waiting: list[OnAnswer] = []


class Resolver:
    """Every destination's addresses. Its worker asks the system's resolver, in a thread.

    Destinations come from the user's configuration, so the table is as long as that.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._names: dict[Address, _Name] = {}
        self._unanswered: list[Address] = []
        self._wakeup = Wakeup()

    def ask(self, address: Address, on_answer: OnAnswer) -> None:
        """Call `on_answer` with the addresses or the error: now, if memory has either, else once it is known."""
        name = self._names.get(address)
        if name is None:
            name = self._names[address] = _Name(local_address(address))
        if name.answer is None:
            name.waiting.append(on_answer)
        else:
            on_answer(name.answer)
        if name.good_until <= self._reactor.now and not name.asking:
            name.asking = True
            self._unanswered.append(address)
            self._wakeup.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask for what is unknown or stale, until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await self._wakeup.wait()
                addresses, self._unanswered = self._unanswered, []
                for address in addresses:
                    nursery.start_soon(self._resolve, address)

    async def _resolve(self, address: Address) -> None:
        answer = await _query(address)
        name = self._names[address]
        now = self._reactor.refresh()
        name.asking = False
        if isinstance(answer, UpstreamError):
            name.good_until = now + FAILED_SECONDS
            if name.answer is None or isinstance(name.answer, UpstreamError):
                name.answer = answer
        else:
            name.good_until = now + FRESH_SECONDS
            name.answer = answer
        waiting, name.waiting = name.waiting, []
        for on_answer in waiting:
            on_answer(answer)


async def _query(address: Address) -> Answer:
    """Ask the system; after a cancel or :data:`QUERY_SECONDS` its thread is left to end by itself."""
    detail = f"{address}: no answer from the resolver within {QUERY_SECONDS:g} s"
    with trio.move_on_after(QUERY_SECONDS):
        try:
            found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except OSError as error:
            detail = f"{address}: {error.strerror or error}"
        else:
            return _interleave([(family, where) for family, _, _, _, where in found])
    return UpstreamError(Reason.UPSTREAM_UNRESOLVED, detail)


def _interleave(found: list[SocketAddress]) -> list[SocketAddress]:
    """Let address families take turns, the resolver's first choice first (RFC 8305 section 4)."""
    first = [each for each in found if each[0] == found[0][0]]
    other = [each for each in found if each[0] != found[0][0]]
    turns: list[SocketAddress] = []
    while first or other:
        turns += first[:1] + other[:1]
        del first[:1], other[:1]
    return turns


def local_address(address: Address) -> SocketAddress | None:
    """Give the socket address of what needs no resolving, else None."""
    if address.scheme == "unix":
        return socket.AF_UNIX, address.path
    if not address.literal:
        return None
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return family, (address.host, address.port)
