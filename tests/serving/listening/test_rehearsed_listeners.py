"""A rehearsal of services that have listeners: no socket is opened, and clients come where a policy says."""

import pytest

import trioedge as te
from tests.support.open_files import open_files
from trioedge.testing import open_edge

SHOP, CAFE = "tcp://0.0.0.0:20001", "tcp://0.0.0.0:20002"


def relay_of(control: te.MemoryControl, *stages: object, listen: tuple[str, ...] = ()) -> te.Edge:
    return te.Edge(listen, stages, te.Forward(), control=control, open_ports="tcp://0.0.0.0:20000-29999")


def policy(*listen: str, **said: object) -> te.Policy:
    return te.Policy(listen=listen, destination="tcp://192.0.2.9:80", **said)  # type: ignore[arg-type]


async def test_a_client_in_memory_comes_by_the_listener_of_a_service(autojump_clock: object) -> None:
    control = te.MemoryControl({"shop": policy(SHOP)})
    edge = relay_of(control)
    async with open_edge(edge) as world:
        files = open_files()
        client = await world.connect(listener=" tcp://0.0.0.0:20001")
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        assert (client.session.service.name, client.session.listener) == ("shop", SHOP)
        await control.put("cafe", policy(CAFE))
        assert edge.addresses == (SHOP, CAFE)
        assert edge.control_state().listeners == 2
        assert open_files() == files
        with pytest.raises(te.ConfigurationError, match=r"no policy names the listener tcp://0.0.0.0:20003, or its"):
            await world.connect(listener="tcp://0.0.0.0:20003")
        with pytest.raises(te.ConfigurationError, match="the edge has no listener of its own: name one of a service's"):
            await world.connect()
    assert not edge.addresses


async def test_a_service_that_is_disabled_in_a_rehearsal_has_no_listener(autojump_clock: object) -> None:
    control = te.MemoryControl({"shop": policy(SHOP), "cafe": policy(CAFE)})
    edge = relay_of(control)
    async with open_edge(edge) as world:
        await control.put("shop", policy(SHOP, enabled=False))
        assert edge.addresses == (CAFE,)
        with pytest.raises(te.ConfigurationError, match="or its service is disabled"):
            await world.connect(listener=SHOP)
        await control.put("shop", policy(SHOP))
        assert [*edge.addresses] == [CAFE, SHOP]
        assert (await world.connect(listener=SHOP)).outcome is None
