"""A local API in memory, for tests under a fake clock: ids, changes since the last request, and faults on demand."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import trio
import trioedge as te

from trioedge_crowdsec import CrowdSec
from trioedge_crowdsec.lapi import Lapi

KEY = "0123456789abcdef"

Fault = Callable[[], Awaitable[httpx.Response]]


class FakeLapi:
    """Decisions, and what a bouncer has not been told yet.

    Attributes:
        requests: when each came, and the ``startup`` that it asked for.
        fault: makes the answers in place of the decisions; None for no fault.
        key: that is accepted.
    """

    def __init__(self, first_id: int = 1) -> None:
        self.requests: list[tuple[float, bool]] = []
        self.fault: Fault | None = None
        self.key = KEY
        self._ids = first_id - 1
        self._decisions: dict[int, dict[str, Any]] = {}
        self._ends: dict[int, float] = {}
        self._new: list[int] = []
        self._deleted: list[dict[str, Any]] = []

    def ban(self, value: str, seconds: float = 14_400, **more: object) -> int:
        """Add a decision, and return its id."""
        self._ids += 1
        scope = "Range" if "/" in value else "Ip"
        self._decisions[self._ids] = {
            "id": self._ids, "origin": "crowdsec", "type": "ban", "scope": scope, "value": value,
            "scenario": "crowdsecurity/ssh-bf", **more,
        }  # fmt: skip
        self._ends[self._ids] = trio.current_time() + seconds
        self._new.append(self._ids)
        return self._ids

    def delete(self, number: int) -> None:
        """Delete a decision."""
        self._deleted.append(self._decisions.pop(number) | {"duration": "-10.4ms"})

    def begin_anew(self) -> None:
        """Restart with a new database: ids begin at 1 again."""
        self._ids = 0
        self._decisions.clear()
        self._new.clear()
        self._deleted.clear()

    def _in_force(self, number: int) -> dict[str, Any]:
        left = self._ends[number] - trio.current_time()
        return self._decisions[number] | {"duration": f"{left:.9f}s"}

    async def handle(self, request: httpx.Request) -> httpx.Response:
        startup = request.url.params["startup"] == "true"
        assert request.url.path == "/v1/decisions/stream"
        assert request.url.params["dedup"] == "false"
        assert request.headers["User-Agent"].count("/") == 1
        self.requests.append((trio.current_time(), startup))
        if self.fault is not None:
            return await self.fault()
        if request.headers["X-Api-Key"] != self.key:
            return httpx.Response(403, json={"message": "access forbidden"})
        new = [self._in_force(each) for each in (self._decisions if startup else self._new) if each in self._decisions]
        deleted = self._deleted
        self._new, self._deleted = [], []
        return httpx.Response(200, content=in_pieces(json.dumps({"deleted": deleted or None, "new": new or None})))


async def in_pieces(text: str, size: int = 100) -> AsyncIterator[bytes]:
    """Give a body in small pieces, as a network may."""
    for start in range(0, len(text), size):
        await trio.lowlevel.checkpoint()
        yield text[start : start + size].encode()


class Rehearsed(CrowdSec):
    """The stage, with a local API in memory."""

    def __init__(self, lapi: FakeLapi, key: te.Secret | str = KEY, **options: Any) -> None:
        super().__init__(key, **options)
        self._fake = lapi

    def lapi(self) -> Lapi:
        return _InMemory(self._url, self._key, self._fake)


class _InMemory(Lapi):
    def __init__(self, url: str, key: Callable[[], str], fake: FakeLapi) -> None:
        super().__init__(url, key, None)
        self._fake = fake

    def transport(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self._fake.handle)
