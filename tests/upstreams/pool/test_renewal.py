import socket
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
import trio

from tests.support.connectors import HeldConnector
from tests.support.wires import tcp_pair
from trioedge.addresses.address import Address, packed_ip
from trioedge.loop.reactor import Reactor
from trioedge.session.verdict import Reason
from trioedge.telemetry.log import EdgeLog
from trioedge.upstreams.connector import Target
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.pool.renewal import MIN_RENEWAL_SECONDS, Renewal
from trioedge.upstreams.resolver import Answer

TARGET = Target(Address("tcp", "redis.test", 80), 5.0)


class Names(HeldConnector):
    """A connector whose answers a test gives."""

    def __init__(self, reactor: Reactor, fresh_until: float) -> None:
        super().__init__(reactor)
        self.fresh = fresh_until
        self.asked: list[Callable[[Answer], object]] = []

    def resolve(self, target: Target, on_answer: Callable[[Answer], object]) -> None:
        self.asked.append(on_answer)

    def fresh_until(self, target: Target) -> float:
        return self.fresh


def made(connector: Callable[[Reactor], Any]) -> tuple[Renewal, Any, list[set[bytes | None]], Reactor]:
    reactor, answers = Reactor(EdgeLog()), list[set[bytes | None]]()
    names = connector(reactor)
    return Renewal(names, TARGET, reactor, answers.append), names, answers, reactor


async def test_an_answer_is_asked_for_when_it_has_expired_and_once_at_a_time() -> None:
    renewal, names, answers, reactor = made(lambda reactor: Names(reactor, 30.0))
    near, far = tcp_pair()
    with near, far:
        assert renewal.due == inf
        assert renewal.peer_of(near) == "127.0.0.1"
        assert renewal.due == 30.0
        names.fresh = 90.0  # a session has asked meanwhile; what idles here was made by the former answer
        renewal.peer_of(near)
        assert renewal.due == 30.0
        renewal.begin(29.9)
        assert not names.asked
        renewal.begin(30.0)
        renewal.peer_of(near)
        renewal.begin(31.0)
        assert (len(names.asked), renewal.due) == (1, inf)
        reactor.now, names.fresh = 31.0, 61.0
        names.asked[0](((socket.AF_INET, ("192.0.2.1", 80)), (socket.AF_INET6, ("2001:DB8::0:1", 80))))
        assert answers == [{packed_ip("192.0.2.1"), packed_ip("2001:db8::1")}]
        assert renewal.due == 61.0


async def test_a_name_without_an_address_has_none_and_is_asked_for_again_a_second_later() -> None:
    renewal, names, answers, reactor = made(lambda reactor: Names(reactor, 30.0))
    near, far = tcp_pair()
    with near, far:
        renewal.peer_of(near)
        renewal.begin(30.0)
        reactor.now = 30.0
        names.asked[0](UpstreamError(Reason.UPSTREAM_UNRESOLVED, "gone"))
        assert (answers, renewal.due) == ([set()], 30.0 + MIN_RENEWAL_SECONDS)


async def test_a_name_for_which_the_resolver_has_no_room_keeps_its_connections_and_is_asked_for_again() -> None:
    renewal, names, answers, reactor = made(lambda reactor: Names(reactor, 30.0))
    near, far = tcp_pair()
    with near, far:
        renewal.peer_of(near)
        renewal.begin(30.0)
        reactor.now = 30.0
        names.asked[0](UpstreamError(Reason.CAPACITY, "too many names"))
        assert (answers, renewal.due) == ([], 30.0 + MIN_RENEWAL_SECONDS)
        renewal.begin(31.0)
        assert len(names.asked) == 2


@pytest.mark.parametrize("connector", [HeldConnector, lambda reactor: Names(reactor, inf)])
async def test_an_address_or_a_connector_that_resolves_nothing_is_not_renewed(
    connector: Callable[[Reactor], Any],
) -> None:
    renewal, _, _, _ = made(connector)
    near, far = tcp_pair()
    with near, far:
        renewal.peer_of(near)
        assert renewal.due == inf
        renewal.begin(1e9)


async def test_a_destination_that_is_an_address_is_not_renewed() -> None:
    reactor = Reactor(EdgeLog())
    target = Target(Address("tcp", "127.0.0.1", 80), 5.0)
    renewal = Renewal(Names(reactor, 30.0), target, reactor, lambda _: None)
    near, far = tcp_pair()
    with near, far:
        assert (renewal.peer_of(near), renewal.due) == ("", inf)


async def test_a_socket_that_was_reset_has_no_peer() -> None:
    renewal, _, _, _ = made(lambda reactor: Names(reactor, 30.0))
    with socket.socket() as sock:
        assert renewal.peer_of(sock) == ""
    await trio.lowlevel.checkpoint()
