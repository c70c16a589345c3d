"""Edges and control planes for the tests of several workers, and clients that talk."""

from typing import Any

import trio

import trioedge as te
from tests.support.workers import Workers
from trioedge.testing import Client


def by_source(control: te.ControlPlane | None, *more: Any) -> te.Edge:
    """Describe an edge whose service is the shop for the sources of 192.0.2.0/24, and the bank for others."""
    stages = [te.Identify(lambda session: "shop" if session.source.startswith("192.0.2.") else "bank"), *more]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control, report_seconds=2)


async def talk(world: Workers, worker: int, source: str = "192.0.2.1", data: bytes = b"ping") -> Client:
    """Connect a client that sends some bytes and gets them back."""
    client = await world.workers[worker].world.connect(source)
    await client.send(data)
    assert await client.receive(len(data)) == data
    return client


def counted(control: te.MemoryControl, service: str = "shop") -> tuple[int, int, int]:
    """Give the bytes up, the sessions opened and the live sessions that the control plane knows of a service."""
    totals = control.totals(service)
    return totals.bytes_up, totals.opened, totals.live


def make_control(**services: te.Policy) -> te.MemoryControl:
    """Describe a control plane with a shop and a bank."""
    return te.MemoryControl({"shop": te.Policy(), "bank": te.Policy(), **services})


class Kept(te.MemoryControl):
    """A control plane that keeps its link, and counts how often it is asked to reload."""

    link: te.Link
    reloads = 0

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.link = link
        await super().run(link, task_status=task_status)

    def reload(self) -> None:
        self.reloads += 1

    def service_of(self, user: str, /) -> str | None:
        return {"ann": "shop"}.get(user)
