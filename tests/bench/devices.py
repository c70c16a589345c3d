"""A slow device checker: what a first reply waits for, how soon a denial cuts, how often one device is asked about."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from statistics import median

import trio

import trioedge as te
from tests.bench.edges import limits
from tests.bench.evict import Client, open_client
from tests.bench.probe import Values, ask, echoing, percentile, run, serving

DEVICES = 10_000
"""A limit that is never reached."""
CHECK_SECONDS = 0.3
BURST = 60
"""Sessions of a burst, each from a new address; within the grace that a service has by default."""
AWAITED_BURST = 2
PAUSE = 300e-6
"""Between two sessions of a burst, in which the edge can begin the check: some 50 µs."""
ONLOOKERS = 200
CUT = 3
"""Sessions of each device that is denied."""
CROWD = 16
"""Sessions at once from one address."""
PING = b"p" * 64


async def slow_check(service: str, device: str) -> te.DeviceVerdict:
    """Accept every device, late."""
    await trio.sleep(CHECK_SECONDS)
    return te.DeviceVerdict(accept=True)


@te.middleware
async def checked_first(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """Check as a proxy does that asks before it goes on."""
    verdict = await slow_check(session.service.name, session.source)
    return await call_next(session) if verdict.accept else te.Reject(te.Reason.DEVICE)


def edge(upstream: int, *stages: object) -> te.Edge:
    """The usual limits, and these stages."""
    return te.Edge("tcp://127.0.0.1:0", [*limits(), *stages], te.Forward(f"tcp://127.0.0.1:{upstream}"))


async def first_replies(upstream: int, load: str, turns: int) -> Values:
    """First replies to clients that were never seen, in bursts."""
    unchecked, checked, awaited = (
        edge(upstream, te.DeviceLimit(DEVICES)),
        edge(upstream, te.DeviceLimit(DEVICES, check=slow_check)),
        edge(upstream, checked_first),
    )
    seen: dict[str, list[float]] = {"unchecked": [], "checked": [], "awaited": []}
    sources = 0

    async def burst(name: str, port: int, count: int) -> None:
        nonlocal sources
        sources += count
        seen[name] += (await ask(load, "cold", port, count, sources, PAUSE))["ns"]

    async with serving(unchecked) as port, serving(checked) as checked_port, serving(awaited) as awaited_port:
        for turn in range(-1, turns):
            await burst("unchecked", port, BURST)
            await burst("checked", checked_port, BURST)
            await trio.sleep(CHECK_SECONDS + 0.1)  # the answers are for the edge alone, and the next burst is as cold
            if turn < 0:  # code that the interpreter has not specialised yet
                seen["unchecked"].clear()
                seen["checked"].clear()
            elif turn % 8 == 0:
                await burst("awaited", awaited_port, AWAITED_BURST)
    return {
        "device_unchecked_p50_us": median(seen["unchecked"]) / 1e3,
        "device_unchecked_p99_us": percentile(seen["unchecked"], 99) / 1e3,
        "device_checked_p50_us": median(seen["checked"]) / 1e3,
        "device_checked_p99_us": percentile(seen["checked"], 99) / 1e3,
        "device_p50_ratio": median(seen["checked"]) / median(seen["unchecked"]),
        "device_p99_ratio": percentile(seen["checked"], 99) / percentile(seen["unchecked"], 99),
        "device_awaited_p50_us": median(seen["awaited"]) / 1e3,
        "device_awaited_ratio": median(seen["awaited"]) / median(seen["checked"]),
    }


async def denials(upstream: int, turns: int) -> Values:
    """From the denial of a device to the end that its clients see, among other devices' sessions."""
    denied_at: dict[str, float] = {}
    denied = [f"127.2.0.{number + 1}" for number in range(turns)]

    async def check(service: str, device: str) -> te.DeviceVerdict:
        await trio.sleep(0.02)
        denied_at[device] = time.perf_counter()
        return te.DeviceVerdict(accept=device not in denied)

    async def wait_for_end(client: Client, device: str) -> None:
        with contextlib.suppress(ConnectionResetError):
            assert not await client.recv(1)
        seen.append(time.perf_counter() - denied_at[device])
        client.close()

    seen: list[float] = []
    lost = 0
    async with serving(edge(upstream, te.DeviceLimit(DEVICES, check=check, grace=te.Grace(devices=ONLOOKERS)))) as port:
        onlookers = [await open_client(port, f"127.3.0.{number + 1}", exchange=True) for number in range(ONLOOKERS)]
        for device in denied:
            async with trio.open_nursery() as nursery:
                for _ in range(CUT):
                    nursery.start_soon(wait_for_end, await open_client(port, device, exchange=True), device)
        for client in onlookers:
            try:
                await client.send(PING)
                lost += not await client.recv(len(PING))
            except ConnectionResetError:
                lost += 1
            client.close()
    return {
        "device_cut_p50_ms": median(seen) * 1e3,
        "device_cut_p99_ms": percentile(seen, 99) * 1e3,
        "device_lost": lost,
    }


async def questions(upstream: int) -> Values:
    """Checks for many sessions at once of one device."""
    asked: Counter[str] = Counter()

    async def check(service: str, device: str) -> te.DeviceVerdict:
        asked[device] += 1
        return await slow_check(service, device)

    async def client(port: int) -> None:
        (await open_client(port, "127.4.0.1", exchange=True)).close()

    async with serving(edge(upstream, te.DeviceLimit(DEVICES, check=check))) as port:
        async with trio.open_nursery() as nursery:
            for _ in range(CROWD):
                nursery.start_soon(client, port)
        await trio.sleep(CHECK_SECONDS + 0.2)
    return {"device_checks": asked.total()}


async def main(echo: str, load: str, turns: int) -> Values:
    with echoing(echo) as upstream:
        return {
            **await first_replies(upstream, load, 2 * turns),
            **await denials(upstream, 2 * turns),
            **await questions(upstream),
        }


if __name__ == "__main__":
    run(main)
