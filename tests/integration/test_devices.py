"""Devices over real sockets: a denied device is cut and no other, and a session that pauses loses no byte."""

import hashlib
import random
from typing import Any

import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.open_files import open_files
from tests.support.wires import connect, echo, receive_exactly, server, serving

MINE, OTHER = "127.0.0.2", "127.0.0.3"


def edge_of(port: int, limit: te.DeviceLimit, control: te.MemoryControl) -> te.Edge:
    """Describe an edge before a server on `port`; clients of 127.0.0.9 are the bank's, all others the shop's."""
    stages = [te.Identify(lambda session: "bank" if session.source == "127.0.0.9" else "shop"), limit]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward(f"tcp://127.0.0.1:{port}"), control=control)


def shops(*, check: Any = None, **policy: Any) -> te.MemoryControl:
    return te.MemoryControl({"shop": te.Policy(**policy), "bank": te.Policy(**policy)}, check=check)


async def talks(client: trio.SocketStream) -> bool:
    with trio.move_on_after(2):
        await client.send_all(b"ping")
        return await receive_exactly(client, 4) == b"ping"
    return False


async def test_sixteen_connections_at_once_make_one_check() -> None:
    control = shops()
    control.delay = 0.05
    async with server() as port, serving(edge_of(port, te.DeviceLimit(), control)) as edge_port:
        clients = [await connect(edge_port, MINE) for _ in range(16)]
        assert all([await talks(client) for client in clients])
        await trio.sleep(0.1)
        assert control.checked == [("shop", MINE)]
        assert all([await talks(client) for client in clients])
        for client in clients:
            await client.aclose()


async def test_a_denial_cuts_the_sockets_of_its_device_and_no_others() -> None:
    control = shops(check=lambda service, device: (service, device) != ("shop", MINE))
    control.delay = 0.1
    async with server() as port:
        edge = edge_of(port, te.DeviceLimit(), control)
        async with serving(edge) as edge_port:
            mine = [await connect(edge_port, MINE) for _ in range(3)]
            others = [await connect(edge_port, source) for source in (OTHER, OTHER, "127.0.0.9")]
            assert all([await talks(client) for client in mine + others])
            for client in mine:
                with trio.fail_after(2), pytest.raises(trio.BrokenResourceError) as raised:
                    await client.receive_some()
                assert isinstance(raised.value.__cause__, ConnectionResetError)
            assert all([await talks(client) for client in others])
            assert edge.statistics().ended == {te.Reason.DEVICE: 3}
            assert edge.evict(service="shop", device=OTHER) == 2
            assert edge.statistics().live == 1
            for client in mine + others:
                await client.aclose()


@pytest.mark.parametrize("granted", [0, 1, 100_000])
async def test_a_paused_session_loses_no_byte(granted: int) -> None:
    """A megabyte each way; a part of it waits in the kernel until the answer comes."""
    control = shops()
    control.delay = 0.1
    limit = te.DeviceLimit(grace=te.Grace(bytes=granted))
    data = random.Random(granted).randbytes(1 << 20)
    async with server() as port:
        edge = edge_of(port, limit, control)
        async with serving(edge) as edge_port, await connect(edge_port, MINE) as client, trio.open_nursery() as nursery:

            async def send() -> None:
                await client.send_all(data)
                await client.send_eof()

            nursery.start_soon(send)
            await trio.sleep(0.05)
            (session,) = edge.sessions
            assert session.bytes_up + session.bytes_down == granted
            digest, count = hashlib.sha256(), 0
            with trio.fail_after(5):
                while more := await client.receive_some(1 << 18):
                    digest.update(more)
                    count += len(more)
            assert (count, digest.digest()) == (len(data), hashlib.sha256(data).digest())


async def test_an_answer_wakes_a_paused_session_without_any_other_event() -> None:
    control = shops()
    control.delay = 0.1
    limit = te.DeviceLimit(grace=te.Grace(bytes=0))
    async with server() as port, serving(edge_of(port, limit, control)) as edge_port:
        async with await connect(edge_port, MINE) as client:
            await client.send_all(b"?")
            with trio.fail_after(2):
                assert await receive_exactly(client, 1) == b"?"


@pytest.mark.parametrize(("unchecked", "goes_on"), [("fail_open", True), ("fail_closed", False)])
async def test_a_paused_session_waits_until_the_end_of_its_grace(unchecked: str, goes_on: bool) -> None:
    control = shops(device_unchecked=unchecked)
    control.down = True
    limit = te.DeviceLimit(grace=te.Grace(seconds=0.1, bytes=2))
    async with server() as port, serving(edge_of(port, limit, control)) as edge_port:
        async with await connect(edge_port, MINE) as client:
            began = trio.current_time()
            await client.send_all(b"0123456789")
            with trio.fail_after(2):
                if goes_on:
                    assert await receive_exactly(client, 10) == b"0123456789"
                else:
                    with pytest.raises(trio.BrokenResourceError):
                        await receive_exactly(client, 10)
            assert trio.current_time() - began >= 0.1


async def test_with_evict_oldest_a_new_device_resets_the_sockets_of_the_oldest() -> None:
    control = shops(device_limit=1, device_handover="evict_oldest")
    async with server() as port, serving(edge_of(port, te.DeviceLimit(), control)) as edge_port:
        before = [await connect(edge_port, MINE) for _ in range(2)]
        assert all([await talks(client) for client in before])
        after = await connect(edge_port, OTHER)
        assert await talks(after)
        for client in before:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
        for client in [*before, after]:
            await client.aclose()


async def test_an_edge_that_stops_while_devices_are_checked_leaves_no_descriptor() -> None:
    files = open_files()
    tasks = trio.lowlevel.current_statistics().tasks_living
    control = shops()
    control.delay = 100.0
    async with server(echo) as port:
        async with serving(edge_of(port, te.DeviceLimit(grace=te.Grace(bytes=0)), control)) as edge_port:
            clients = [await connect(edge_port, source) for source in (MINE, MINE, OTHER)]
            for client in clients:
                await client.send_all(b"x")
            await trio.sleep(0.03)
        for client in clients:
            await client.aclose()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert open_files() == files
