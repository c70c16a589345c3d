"""A member over real sockets: it connects, connects again, and leaves nothing when it is cancelled."""

import socket
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.worker_edges import by_source, make_control
from tests.support.workers import SECRET, no_answer
from trioedge.workers.hub import Hub
from trioedge.workers.member import HubMember


def listening() -> tuple[socket.socket, Any]:
    """Listen in the abstract namespace, as the parent of the workers does."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("")
    sock.listen()
    return sock, sock.getsockname()


def member(address: Any, secret: bytes = SECRET) -> HubMember:
    edges = {"edge": by_source(make_control())}
    return HubMember(edges, address, secret, number=0, column=0, generation=0)


async def test_it_connects_with_the_secret_and_again_after_the_control_process_was_replaced() -> None:
    sock, address = listening()
    here = member(address)
    with sock, trio.fail_after(10), capture_logs():
        async with trio.open_nursery() as nursery:
            await nursery.start(here.run, no_answer)
            runs = set()
            for _ in range(3):
                copy = sock.dup()
                hub = Hub({"edge": by_source(make_control())}, copy, SECRET, workers=1)
                async with trio.open_nursery() as hubs:
                    await hubs.start(hub.run)
                    connected = await here.connection.wait_value(lambda now: now is not None)
                    assert connected is not None
                    runs.add(connected.welcome.run)
                    assert here.connected
                    hubs.cancel_scope.cancel()
                copy.close()
                await here.connection.wait_value(lambda now: now is None)
            assert len(runs) == 3
            nursery.cancel_scope.cancel()


async def test_a_wrong_secret_never_connects() -> None:
    sock, address = listening()
    stranger, here = member(address, bytes(32)), member(address)
    with sock, trio.fail_after(10), capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            hub = Hub({"edge": by_source(make_control())}, sock, SECRET, workers=1)
            await nursery.start(hub.run)
            await nursery.start(stranger.run, no_answer)
            await trio.sleep(0.3)
            assert not stranger.connected
            await nursery.start(here.run, no_answer)
            await here.connection.wait_value(lambda now: now is not None)
            nursery.cancel_scope.cancel()
    assert any(line["event"] == "a stranger has connected to the control process" for line in lines)
    assert SECRET.hex() not in str(lines)


async def test_while_there_is_no_control_process_it_tries_again_and_again() -> None:
    sock, address = listening()
    sock.close()
    here = member(address)
    with capture_logs() as lines, trio.move_on_after(0.3):
        await here.run(no_answer)
    assert not here.connected
    assert lines


async def test_a_cancel_at_any_step_leaves_nothing_open() -> None:
    sock, address = listening()
    with sock:
        async with trio.open_nursery() as nursery:
            hub = Hub({"edge": by_source(make_control())}, sock, SECRET, workers=1)
            await nursery.start(hub.run)
            here = member(address)

            async def act() -> None:
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as inner:
                        await inner.start(here.run, no_answer)
                        await here.connection.wait_value(lambda now: now is not None)
                        scope.cancel()

            await act()
            await trio.sleep(0.05)
            _, before = left_open()
            with capture_logs():
                await cancel_at_every_step(act, lambda: None)
            await trio.sleep(0.1)
            assert left_open()[1] == before
            assert not here.connected
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("stages", "control", "needed"), [
    ([], None, False), ([te.DeviceLimit(2)], None, True), ([], make_control(), True),
])  # fmt: skip
def test_an_edge_has_a_control_plane_if_it_has_one_or_limits_devices(
    stages: list[object], control: te.ControlPlane | None, needed: bool
) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:6379"), control=control)
    here = HubMember({"edge": edge}, "", SECRET, number=0, column=0, generation=0)
    assert (here.control("edge") is not None) is needed
    assert here.control("another") is None
