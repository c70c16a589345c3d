"""The example with quotas and expiries does what it says."""

import runpy
import time
from pathlib import Path

import trio
from trio.testing import MockClock

import trioedge as te
from trioedge.services.terms.moment import parse_moment
from trioedge.testing import open_edge

EXAMPLES = Path(__file__).parents[1] / "examples"


def edge_of_example() -> te.Edge:
    edge = runpy.run_path(str(EXAMPLES / "quotas.py"))["edge"]
    assert isinstance(edge, te.Edge)
    return edge


async def test_a_customer_is_cut_when_the_quota_is_used_up_and_the_other_one_goes_on() -> None:
    async with open_edge(edge_of_example()) as world:
        alice, bob = await world.connect("127.0.0.1"), await world.connect("127.0.0.2")
        services = world.edge.services
        assert (services["alice"].quota_used, services["bob"].quota_used) == (12_000_000_000, 0)
        for _ in range(8):  # the upstream of a rehearsal echoes
            await bob.send(bytes(60_000))
            await bob.receive(60_000)
        assert services["bob"].quota_used == 960_000
        await bob.send(bytes(40_000))
        assert (await bob.ended()).reason is te.Reason.QUOTA
        again = await world.connect("127.0.0.2")
        assert again.outcome == te.Reject(te.Reason.QUOTA, "the service's quota is used up")
        await alice.send(b"PING\r\n")
        assert await alice.receive(6) == b"PING\r\n"


async def test_a_customer_s_time_is_over_at_the_end_of_the_century() -> None:
    async with open_edge(edge_of_example()) as world:
        at = world.edge.services["alice"].policy.expires_at
        assert at == parse_moment("2099-12-31T23:59:59Z")
        assert at > time.time()


async def test_a_customer_expires_under_the_clock_of_a_rehearsal(autojump_clock: MockClock) -> None:
    policy = te.Policy(expires_at=time.time() + 60, destination="tcp://127.0.0.1:9000")
    edge = te.Edge(
        "tcp://127.0.0.1:8080", [te.Identify("alice")], te.Forward(allow=["loopback"]),
        control=te.MemoryControl({"alice": policy}),
    )  # fmt: skip
    async with open_edge(edge) as world:
        client = await world.connect()
        await trio.sleep(62)
        assert (await client.ended()).reason is te.Reason.EXPIRED
