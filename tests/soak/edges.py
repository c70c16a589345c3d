"""The edges under test: `python -m tests.soak.edges MODE UPSTREAM FOLDER`.

An edge has two listeners: one of the service `steady`, whose sessions must come to their own end, and one of the
service `doomed`, which is evicted, disabled and limited while it runs. The process prints its addresses, and obeys
lines of JSON on stdin, each answered with a line: `{"do": "state"}`, `{"do": "evict"}`, `{"do": "change"}`.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

import trioedge as te
from tests.bench.processes import free_port, raise_open_files
from tests.support.middlewares import read_ahead, wrap
from trioedge.process.logs import configure_structlog
from trioedge.process.together import COLLECT

IDLE_SECONDS = 1.0
"""The idle limit of the mode `idle`; drivers pause for less in sessions that must be whole."""
RATE = 32e6
"""Bytes a second each way of the mode `pacing`."""
PRECONNECT = 8
MANY = 9_000
"""Live sessions of the service `steady`: more than any flood opens."""
MAX_SESSIONS = 64
"""Live sessions of the mode `few`."""


@te.decision
def faulty(session: te.Session) -> te.Verdict:
    """Fail in each session of `doomed`: every one writes lines into the log."""
    if session.service.name == "doomed":
        raise RuntimeError("planted, to fill the log " + "x" * 400)
    return te.CONTINUE


MODES: dict[str, Callable[[], list[Any]]] = {
    "plain": list,
    "local": list,
    "preconnect": list,
    "middleware": lambda: [read_ahead],
    "wrapped": lambda: [wrap],
    "pacing": lambda: [te.Pacing()],
    "idle": lambda: [te.IdleTimeout(IDLE_SECONDS, half_closed_seconds=5.0)],
    "devices": lambda: [te.DeviceLimit()],
    "all": lambda: [
        te.SessionGate(1e6, 1_000_000, per="source"),
        te.SourceMatch(),
        te.ConcurrencyLimit(20_000, per="source"),
        te.DeviceLimit(),
        te.Pacing(),
        te.IdleTimeout(60.0),
    ],
    "gate": lambda: [te.SessionGate(200.0, 50, per="source")],
    "concurrency": lambda: [te.ConcurrencyLimit(20, per="source")],
    "few": list,
    "log": lambda: [faulty],
}
"""The stages of each mode behind `Identify`."""


class Policies:
    """The policies of the two services, which change a little each time."""

    def __init__(self, mode: str, upstream: str) -> None:
        self._mode, self._upstream = mode, upstream
        self._chance = random.Random(7)
        self._count = 0

    def next(self) -> dict[str, te.Policy]:
        """What holds next: `doomed` is disabled now and then, `steady` never loses what its sessions need."""
        self._count += 1
        doomed: dict[str, Any] = {"enabled": self._count % 3 != 0}
        if self._mode == "devices":
            doomed["device_limit"] = self._chance.randint(1, 3)
        steady: dict[str, Any] = {"session_rate": 1e5 + self._count, "session_burst": 100_000, "max_sessions": MANY}
        if self._mode == "pacing":
            steady |= {"down_rate": RATE * self._chance.uniform(1, 2), "up_rate": RATE * self._chance.uniform(1, 2)}
            doomed |= {"down_rate": RATE / 8, "up_rate": RATE / 8}
        if self._mode in ("devices", "all"):
            steady["device_limit"] = 1_000
        needs = {"session_rate": None, "session_burst": 32} if self._mode != "all" else {}
        return {
            "steady": te.Policy(outbound=self._upstream, **self._preconnect(), **{**steady, **needs}),
            "doomed": te.Policy(outbound=self._upstream, **doomed),
        }

    def _preconnect(self) -> dict[str, Any]:
        return {"preconnect": PRECONNECT} if self._mode == "preconnect" else {}


def check(service: str, device: str) -> te.DeviceVerdict:
    """Accept devices of `steady`; of `doomed`, those whose address ends in an even number."""
    return te.DeviceVerdict(accept=service == "steady" or device[-1:] in "02468", seconds=2.0)


def state(edge: te.Edge) -> dict[str, Any]:
    """Everything that must come back to what it was; nothing is collected for the question."""
    counts = edge.statistics()
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)
    return {
        "accepted": counts.accepted,
        "live": counts.live,
        "sessions": [repr(each) for each, _ in zip(edge.sessions, range(5), strict=False)],
        "refused": {str(reason): count for reason, count in counts.refused.items() if count},
        "ended": {str(reason): count for reason, count in counts.ended.items() if count},
        "bytes_up": counts.bytes_up,
        "bytes_down": counts.bytes_down,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        # Without tuples, which the collector forgets when it meets them; `blocks` counts those too.
        "objects": sum(type(each) is not tuple for each in gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "rss_kib": int(fields["VmRSS"].split()[0]),
        "cpu_seconds": sum(os.times()[:2]),
    }


async def obey(edge: te.Edge, control: te.MemoryControl, policies: Policies) -> None:
    """Answer lines until stdin ends."""
    buffer = b""
    async for data in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            match json.loads(line)["do"]:
                case "evict":
                    say(evicted=edge.evict(service="doomed"))
                case "change":
                    await control.apply(
                        te.Snapshot({name: te.Settings(each) for name, each in policies.next().items()})
                    )
                    say(changed=True)
                case _:
                    say(**state(edge))


async def main(mode: str, upstream: str, folder: Path) -> None:
    """Serve until stdin ends."""
    if mode == "local":
        listeners = {f"unix://{folder}/{name}.sock": name for name in ("steady", "doomed")}
    else:
        listeners = {f"tcp://127.0.0.1:{free_port()}": name for name in ("steady", "doomed")}
    policies = Policies(mode, upstream)
    control = te.MemoryControl(policies.next(), check=check)
    edge = te.Edge(
        list(listeners),
        [te.Identify(listeners), *MODES[mode]()],
        te.Forward(allow=["loopback", "unix"], connect_seconds=2.0),
        control=control,
        max_sessions=MAX_SESSIONS if mode == "few" else None,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT)  # as `te.run` does
        say(steady=edge.addresses[0], doomed=edge.addresses[1])
        await obey(edge, control, policies)
        nursery.cancel_scope.cancel()


def say(**fields: object) -> None:
    """Answer the campaign."""
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    raise_open_files()
    configure_structlog("json")
    trio.run(main, sys.argv[1], sys.argv[2], Path(sys.argv[3]))
