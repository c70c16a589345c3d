"""The events of the demo: a device is denied, a rate changes, a source is evicted, a worker is killed."""

import re
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from ...control.toml_lines import toml_lines
from ...errors import EdgeError
from ...services.rates import format_rate
from ..client.client import EdgeClient, path_of
from ..words import amount, count
from .clients import Seen
from .edge import SERVICES, STAYING, WATCHING
from .killing import kill_worker
from .view import View

FIRST_EVICTION_SECONDS: Final = 1.5
EVICTION_SECONDS: Final = 6.0

FIRST_CHANGE_SECONDS: Final = 2.5
CHANGE_SECONDS: Final = 6.0
RATES: Final = (2_000_000, 6_000_000)
ARRIVAL_SECONDS: Final = 3.0
"""How long a change of the file may take to be in force; after that the edge gets no more changes."""

DENIALS_SECONDS: Final = 0.4
"""Between two questions for the sessions that the device check has cut."""

KILL_SECONDS: Final = 4.5
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


class Story:
    """The events of one demo."""

    def __init__(self, services: Path, upstream: str, view: View) -> None:
        """Write the services file.

        Args:
            services: the path of the file.
            upstream: the address of the upstream of all services.
            view: shows the events.
        """
        self._services = services
        self._view = view
        self._write(FILE.format(upstream=upstream, rate=format_rate(RATES[0])))
        self._speed = 0.0

    def _write(self, text: str) -> None:
        """Replace the file by a rename, so that no reader sees half of it."""
        new = self._services.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.rename(self._services)

    async def run(self, client: EdgeClient, seen: Seen) -> None:
        """Run the events, until cancelled.

        Args:
            client: of the edge.
            seen: what the edge's clients see.
        """
        async with trio.open_nursery() as nursery:
            for event in (self._evict, self._change_rates, self._tell_denials):
                nursery.start_soon(event, client)
            nursery.start_soon(self._kill, client, seen)
            nursery.start_soon(self._measure, seen)

    async def _evict(self, client: EdgeClient) -> None:
        await trio.sleep(FIRST_EVICTION_SECONDS)
        while True:
            try:
                answer = await client.ask("POST", path_of("evict"), body={"source": STAYING})
            except EdgeError as error:
                self._view.note(f"{STAYING} is not evicted: {error}")
            else:
                cut = count(answer["evicted"], "session")
                self._view.note(f"evicted {cut} of {STAYING}; its clients come back in a second")
            await trio.sleep(EVICTION_SECONDS)

    async def _change_rates(self, client: EdgeClient) -> None:
        await trio.sleep(FIRST_CHANGE_SECONDS)
        turns = 0
        while True:
            next_turn = trio.current_time() + CHANGE_SECONDS
            turns += 1
            await self._change_rate(client, RATES[turns % 2])
            await trio.sleep_until(next_turn)

    async def _change_rate(self, client: EdgeClient, rate: int) -> None:
        """Change the rate in the file, as a user would; show the plan, and when the change is in force."""
        news = f"services.toml gives {VIDEO} {format_rate(rate)}: "
        try:
            text = self._services.read_text(encoding="utf-8")
            if not RATE.search(text):
                return  # the user has changed this part of the file
            self._write(RATE.sub(format_rate(rate), text))
            lines = [f"{line}\n".encode() for line in toml_lines(self._services)]
            answer = await client.ask("POST", path_of("plan"), body=lines)
            effect = answer["says"].partition("; ")[2]
            written = trio.current_time()
            with trio.move_on_after(ARRIVAL_SECONDS):
                while not await self._is_in_force(client, rate):  # noqa: ASYNC110 - a user would look as well
                    await trio.sleep(0.02)
                took = trio.current_time() - written
                self._view.note(f"{news}{effect}; in force after {took:.1f} s")
                return
        except (OSError, UnicodeError, EdgeError) as error:
            self._view.note(f"{news}{error}")
            return
        self._view.note(f"{news}the edge got no change, and goes on as before")

    async def _is_in_force(self, client: EdgeClient, rate: int) -> bool:
        found = await client.items(path_of("services"), None, prefix=VIDEO)
        return any(each["name"] == VIDEO and each["down_rate"] == rate for each in found["items"])

    async def _tell_denials(self, client: EdgeClient) -> None:
        """Tell of each device whose sessions the device check has cut, once no more of them come."""
        told, before = set[str](), dict[str, list[float]]()
        while True:
            await trio.sleep(DENIALS_SECONDS)
            try:
                found = (await client.get(path_of("recent"), reason="device", kind="ended"))["items"]
            except EdgeError:  # it is asked again
                continue
            cut = dict[str, list[float]]()
            for each in found:
                cut.setdefault(each["device"], []).append(each["seconds"])
            for device, seconds in cut.items():
                if device not in told and before.get(device) == seconds:
                    told.add(device)
                    served = count(len(seconds), "session")
                    self._view.note(
                        f"the device check denied {device} after {max(seconds):.1f} s: {served} cut, served until then"
                    )
            before = cut

    async def _kill(self, client: EdgeClient, seen: Seen) -> None:
        await trio.sleep(KILL_SECONDS)
        self._view.note(await kill_worker(client, seen))

    async def _measure(self, seen: Seen) -> None:
        points: deque[tuple[float, int]] = deque([(trio.current_time(), 0)])
        while True:
            await trio.sleep(0.1)
            now = trio.current_time()
            points.append((now, seen.arrived[WATCHING]))
            while now - points[1][0] >= SPEED_SECONDS:  # the oldest is never the newest, however long this slept
                points.popleft()
            then, before = points[0]
            self._speed = (seen.arrived[WATCHING] - before) / (now - then)

    def speed(self, services: Mapping[str, Mapping[str, Any]]) -> str:
        """Say how fast the video clients are served, and how fast they may be."""
        limit = services.get(VIDEO, {}).get("down_rate")  # the user may remove the service, and name it again
        of = f", of {format_rate(limit)}" if limit else ""
        return f"{VIDEO} {amount(self._speed)}/s over {SPEED_SECONDS:g} s{of}"
