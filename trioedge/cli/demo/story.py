"""The events of the demo: a device is denied, a rate changes, a source is evicted."""

import re
from collections import deque
from pathlib import Path
from typing import Final

import trio

from ...control.file import read_services
from ...edge import Edge
from ...errors import ConfigurationError
from ...services.control_plane import DeviceVerdict, SnapshotError
from ...services.rates import format_rate
from ..words import amount, count
from .edge import SERVICES, STAYING, STRANGERS, WATCHING, Check
from .view import View

CHECK_SECONDS: Final = 0.3
"""How long a device check takes in the demo; no session waits for it."""

FIRST_EVICTION_SECONDS: Final = 1.5
EVICTION_SECONDS: Final = 6.0

FIRST_CHANGE_SECONDS: Final = 2.5
CHANGE_SECONDS: Final = 6.0
RATES: Final = (2_000_000, 6_000_000)
ARRIVAL_SECONDS: Final = 3.0
"""How long a change of the file may take to be in force; after that the edge gets no more changes."""

SPEED_SECONDS: Final = 2.0
"""The time over which a speed is measured, because the kernel takes bytes in pieces of 100 kB."""

FILE: Final = """\
# The services of trioedge demo. Change them and save: a change is in force within a second.

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


VIDEO: Final = SERVICES[WATCHING]
RATE: Final = re.compile(rf'(?<=^\[services\.{VIDEO}\]\ndown_rate = ")[^"]*', re.MULTILINE)
"""Finds the rate that changes in the file."""


async def check_device(service: str, device: str) -> DeviceVerdict:  # noqa: ARG001 - the signature of a check
    """Deny strangers and accept all other devices, after a while; in place of a control plane."""
    await trio.sleep(CHECK_SECONDS)
    return DeviceVerdict(not device.startswith(STRANGERS))


class Story:
    """The events of one demo.

    Attributes:
        evicted: sessions evicted so far.
        denied: sessions cut so far because their device was denied.
        speed: the present speed of the video service, in words.
    """

    def __init__(self, services: Path, upstream: str, view: View) -> None:
        """Write the services file.

        Args:
            services: the path of the file.
            upstream: the address of the upstream of all services.
            view: shows the events.
        """
        self._services = services
        self._view = view
        self._edge: Edge | None = None
        self.evicted = 0
        self.denied = 0
        self.speed = ""
        self._arrived = 0
        self._write(FILE.format(upstream=upstream, rate=format_rate(RATES[0])))

    def _write(self, text: str) -> None:
        """Replace the file by a rename, so that no reader sees half of it."""
        new = self._services.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.rename(self._services)

    def arrived(self, count: int) -> None:
        """Count bytes that clients of the video service received; the edge counts when the kernel takes them."""
        self._arrived += count

    def watch(self, check: Check) -> Check:
        """Wrap a device check, to show which devices it denies."""

        async def watched(service: str, device: str) -> DeviceVerdict:
            asked = trio.current_time()
            verdict = await check(service, device)
            if not verdict.accept and self._edge is not None:
                cut = len(self._edge.sessions.matching(service=service, device=device))
                self.denied += cut
                after = trio.current_time() - asked
                served = count(cut, "session")
                self._view.note(
                    f"the device check denied {device} after {after:.1f} s: {served} cut, served until then"
                )
            return verdict

        return watched

    async def run(self, edge: Edge) -> None:
        """Run the events, until cancelled."""
        self._edge = edge
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._evict, edge)
            nursery.start_soon(self._change_rates, edge)
            nursery.start_soon(self._measure, edge)

    async def _evict(self, edge: Edge) -> None:
        await trio.sleep(FIRST_EVICTION_SECONDS)
        while True:
            cut = edge.evict(source=STAYING)
            self.evicted += cut
            self._view.note(f"evicted {count(cut, 'session')} of {STAYING}; its clients come back in a second")
            await trio.sleep(EVICTION_SECONDS)

    async def _change_rates(self, edge: Edge) -> None:
        await trio.sleep(FIRST_CHANGE_SECONDS)
        turns = 0
        while True:
            next_turn = trio.current_time() + CHANGE_SECONDS
            turns += 1
            await self._change_rate(edge, RATES[turns % 2])
            await trio.sleep_until(next_turn)

    async def _change_rate(self, edge: Edge, rate: int) -> None:
        """Change the rate in the file, as a user would; show the plan, and when the change is in force."""
        news = f"services.toml gives {VIDEO} {format_rate(rate)}: "
        try:
            text = self._services.read_text(encoding="utf-8")
            if not RATE.search(text):
                return  # the user has changed this part of the file
            self._write(RATE.sub(format_rate(rate), text))
            plan = await edge.plan(read_services(self._services))
        except (OSError, UnicodeError, ConfigurationError, SnapshotError) as error:
            self._view.note(f"{news}{error}")
            return
        written = trio.current_time()
        with trio.move_on_after(ARRIVAL_SECONDS):
            while (video := edge.services.get(VIDEO)) is None or video.policy.down_rate != rate:  # noqa: ASYNC110 - a user would look as well
                await trio.sleep(0.02)
            self._view.note(f"{news}{plan}; in force after {trio.current_time() - written:.1f} s")
            return
        self._view.note(f"{news}the edge got no change, and goes on as before")

    async def _measure(self, edge: Edge) -> None:
        seen: deque[tuple[float, int]] = deque([(trio.current_time(), 0)])
        while True:
            await trio.sleep(0.1)
            now = trio.current_time()
            seen.append((now, self._arrived))
            while now - seen[1][0] >= SPEED_SECONDS:  # the oldest is never the newest, however long the process slept
                seen.popleft()
            (then, before), video = seen[0], edge.services.get(VIDEO)  # the user may remove it, and name it again
            limit = video.policy.down_rate if video is not None else None
            speed = amount((self._arrived - before) / (now - then))
            of = f", of {format_rate(limit)}" if limit else ""
            self.speed = f"{VIDEO} {speed}/s over {SPEED_SECONDS:g} s{of}"
