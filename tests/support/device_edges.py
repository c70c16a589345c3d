"""Whole edges with a device limit, in memory; the services are a shop and a bank."""

from typing import Any

import trio

import trioedge as te
from trioedge.loop.reactor import TICK_SECONDS
from trioedge.stages.devices.memory import TICK
from trioedge.testing import Client, Rehearsal

LATE = TICK + TICK_SECONDS
"""How late a deadline may be handled: one tick of the device table, and one of the reactor that wakes the worker."""

REFUSED = te.Reason.DEVICE


def by_network(session: te.Session) -> str:
    """Name the service: the sources of 198.51.100.0/24 are the bank's, all others the shop's."""
    return "bank" if session.source.startswith("198.51.100.") else "shop"


def make_edge(
    limit: te.DeviceLimit, control: te.MemoryControl | None = None, *, before: tuple[object, ...] = ()
) -> te.Edge:
    """Describe an edge with a device limit, and these stages before it."""
    stages = [te.Identify(by_network), *before, limit]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)


def make_control(*, check: Any = None, **policy: Any) -> te.MemoryControl:
    """Describe a control plane that names a shop and a bank, both with the same policy."""
    return te.MemoryControl({"shop": te.Policy(**policy), "bank": te.Policy(**policy)}, check=check)


async def settled() -> None:
    """Give the worker time to cut sessions, in slices whose rests are longer on a busy machine."""
    await trio.sleep(0.5)


async def talks(client: Client) -> bool:
    """Tell whether bytes still go to the upstream and back."""
    await client.send(b"ping")
    with trio.move_on_after(1):
        return await client.receive(4) == b"ping"
    return False


async def ends_at(client: Client, at: float, reason: te.Reason = REFUSED) -> None:
    """Wait until the session ends; it does so for this reason, not earlier than `at` and at most `LATE` later."""
    outcome = await client.ended()
    assert outcome.reason is reason
    assert at <= trio.current_time() <= at + LATE


def refusal(client: Client) -> str:
    """Give the detail with which the device limit refused a session at once."""
    assert isinstance(client.outcome, te.Reject)
    assert client.outcome.reason is REFUSED
    return client.outcome.detail


async def three_devices(world: Rehearsal) -> list[Client]:
    """Connect two sessions of a first device, then one each of a second and a third, a second apart."""
    clients = [await world.connect("192.0.2.1")]
    for source in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        await trio.sleep(1)
        clients.append(await world.connect(source))
    await settled()
    return clients
