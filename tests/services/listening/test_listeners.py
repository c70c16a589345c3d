"""What every implementation of the listeners of an edge does."""

from collections.abc import Callable

import pytest

from tests.support.ports import closed_port
from tests.support.services import Tenants
from trioedge.addresses.address import Address
from trioedge.loop.reactor import Reactor
from trioedge.services.listening.listeners import Listeners
from trioedge.serving.listening.process_listeners import ProcessListeners
from trioedge.serving.listening.rehearsed_listeners import RehearsedListeners
from trioedge.telemetry.log import EdgeLog


def process_listeners() -> ProcessListeners:
    log = EdgeLog()
    listeners = ProcessListeners([], keepalive_seconds=0)
    listeners.listen(Reactor(log), log, lambda *_, **__: None, lambda: None, 9)
    return listeners


@pytest.mark.parametrize("make", [process_listeners, RehearsedListeners])
async def test_an_address_is_there_from_open_to_close_and_changes_hands_and_is_released_meanwhile(
    make: Callable[[], ProcessListeners | RehearsedListeners],
) -> None:
    tenants, made = Tenants(), make()
    listeners: Listeners = made
    shop, cafe = tenants.put("shop"), tenants.put("cafe")
    address, other = Address("tcp", "127.0.0.1", closed_port()), Address("tcp", "127.0.0.1", closed_port())
    for absent in (listeners.release, listeners.close):
        absent(address)
    assert ([*listeners], listeners.opened) == ([], 0)
    listeners.open(address, shop)
    listeners.open(other, shop)
    for service in (cafe, None, shop, None):
        if service is None:
            listeners.release(address)
        else:
            listeners.open(address, service)
        assert ([*listeners], listeners.opened) == ([str(address), str(other)], 2)
        assert listeners.at(address.port) == (str(address),)
        assert str(address) in listeners
        assert listeners[1] == str(other)
    listeners.close(address)
    listeners.close(address)
    assert ([*listeners], len(listeners), listeners.opened) == ([str(other)], 1, 2)
    made.close_all()
    made.close_all()
    assert not len(listeners)
