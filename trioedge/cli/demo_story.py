"""What happens in the demo while you watch: a device is denied, a rate changes, a source is evicted."""

from collections import deque
from pathlib import Path
from typing import Final

import trio

from ..control.file import read_services
from ..core.rates import format_rate
from ..edge import Edge
from ..runtime.control_plane import DeviceVerdict
from .demo_edge import SERVICES, STAYING, STRANGERS, WATCHING
from .demo_view import View
from .words import amount, count

CHECK_SECONDS: Final = 0.3
"""How long the demo's device check takes: nobody waits for it."""

FIRST_EVICTION_SECONDS: Final = 1.5
EVICTION_SECONDS: Final = 6.0

FIRST_CHANGE_SECONDS: Final = 3.0
CHANGE_SECONDS: Final = 6.0
RATES: Final = (2_000_000, 6_000_000)

SPEED_SECONDS: Final = 2.0
"""Over which the speed is taken; the kernel takes bytes by the hundred kilobytes."""

FILE: Final = """\
# The services of trioedge demo. Change them and save: what you change holds within a second.

[services.web]
session_rate = 50
outbound = "{upstream}"
preconnect = 4

[services.crawler]
session_rate = 2
session_burst = 8
outbound = "{upstream}"

[services.chat]
device_limit = 5
outbound = "{upstream}"

[services.video]
down_rate = "{rate}"
outbound = "{upstream}"

[services.guest]
session_rate = 2
session_burst = 8
outbound = "{upstream}"
"""


class Story:
    """The events, and who is told of them.

    Attributes:
        evicted: sessions evicted so far.
        denied: sessions cut so far because their device was denied.
        speed: what the video service gets at this moment, in words.
    """

    def __init__(self, services: Path, upstream: str, view: View) -> None:
        """Write the services file.

        Args:
            services: where.
            upstream: where its services go.
            view: shows what happens.
        """
        self._services = services
        self._upstream = upstream
        self._view = view
        self._edge: Edge | None = None
        self._rate = RATES[0]
        self.evicted = 0
        self.denied = 0
        self.speed = ""
        self._write()

    def _write(self) -> None:
        """Put a new file in the place of the old one, so that nobody reads half of it."""
        new = self._services.with_suffix(".new")
        new.write_text(FILE.format(upstream=self._upstream, rate=format_rate(self._rate)))
        new.rename(self._services)

    async def check(self, service: str, device: str) -> DeviceVerdict:
        """Say, after a while, that strangers may not come, and everybody else may."""
        await trio.sleep(CHECK_SECONDS)
        if not device.startswith(STRANGERS):
            return DeviceVerdict(True)
        assert self._edge is not None
        cut = len(self._edge.sessions.matching(service=service, device=device))
        self.denied += cut
        served = count(cut, "session")
        self._view.note(f"the device check denied {device} after {CHECK_SECONDS:g} s: {served} cut, served until then")
        return DeviceVerdict(False, detail="not a device of this service")

    async def run(self, edge: Edge) -> None:
        """Let it happen, until cancelled."""
        self._edge = edge
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._evict, edge)
            nursery.start_soon(self._change_rate, edge)
            nursery.start_soon(self._measure, edge)

    async def _evict(self, edge: Edge) -> None:
        await trio.sleep(FIRST_EVICTION_SECONDS)
        while True:
            cut = edge.evict(source=STAYING)
            self.evicted += cut
            self._view.note(f"evicted {count(cut, 'session')} of {STAYING}; its clients come back in a second")
            await trio.sleep(EVICTION_SECONDS)

    async def _change_rate(self, edge: Edge) -> None:
        await trio.sleep(FIRST_CHANGE_SECONDS)
        while True:
            self._rate = RATES[self._rate == RATES[0]]
            self._write()
            plan = await edge.plan(read_services(self._services))
            self._view.note(f"services.toml gives video {format_rate(self._rate)}: {plan}")
            await trio.sleep(CHANGE_SECONDS)

    async def _measure(self, edge: Edge) -> None:
        video = edge.service(SERVICES[WATCHING])
        seen: deque[tuple[float, int]] = deque([(trio.current_time(), 0)])
        while True:
            await trio.sleep(0.1)
            now = trio.current_time()
            seen.append((now, video.down.bytes))
            while now - seen[0][0] > SPEED_SECONDS:
                seen.popleft()
            (then, before), limit = seen[0], video.policy.down_rate
            speed = amount((video.down.bytes - before) / (now - then))
            self.speed = f"video {speed}/s" + (f" of {format_rate(limit)}" if limit else "")
