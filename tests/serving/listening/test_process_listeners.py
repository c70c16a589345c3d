"""Listening sockets of services in this process: opened, handed over, released, closed, and refused beyond a bound."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from tests.support.open_files import open_files
from tests.support.ports import closed_port
from tests.support.services import Tenants
from trioedge.addresses.address import Address, parse_address
from trioedge.errors import ListenError
from trioedge.loop.reactor import Reactor
from trioedge.serving.listening.bind import bind
from trioedge.serving.listening.process_listeners import ProcessListeners
from trioedge.telemetry.log import EdgeLog


def here(port: int, host: str = "127.0.0.1") -> Address:
    return Address("tcp", host, port)


class FullSockets:
    """The sockets of several workers, in a process that has no descriptor left to keep one."""

    def has(self, address: Address) -> bool:
        return True

    def take(self, address: Address) -> None:
        return None

    def keep(self, address: Address, fd: int) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class World(Tenants):
    """Listeners, and the services of the clients that they have accepted.

    Attributes:
        listeners: under test.
        came: the name of the service of each client, and its listener.
    """

    def __init__(self, *own: str, max_opened: int = 9, sockets: Any = None) -> None:
        super().__init__()
        self.log = EdgeLog()
        self.came: list[tuple[str, str]] = []
        self.bound = bind([parse_address(each, listening=True) for each in own])
        self.listeners = ProcessListeners(self.bound, keepalive_seconds=60, sockets=sockets)
        self.reactor = Reactor(self.log)
        self.listeners.listen(self.reactor, self.log, self.admit, lambda: None, max_opened)

    def admit(self, sock: socket.SocketType, listener: str, *client: Any) -> None:
        service = client[-1]
        self.came.append(("" if service is None else service.name, listener))
        sock.close()

    def connect(self, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)):
            pass

    async def turn(self) -> None:
        """Let the reactor accept what waits."""
        with trio.move_on_after(0.05):
            await self.reactor.run()


@contextmanager
def world_of(*own: str, max_opened: int = 9, sockets: Any = None) -> Iterator[World]:
    world = World(*own, max_opened=max_opened, sockets=sockets)
    try:
        yield world
    finally:
        world.listeners.close_all()
        world.reactor._epoll.close()


async def test_a_client_is_of_the_service_that_has_the_listener_when_it_is_accepted() -> None:
    with world_of("tcp://127.0.0.1:0") as world:
        own, port = int(world.listeners[0].rpartition(":")[2]), closed_port()
        world.listeners.open(here(port), world.put("shop"))
        for each in (own, port):
            world.connect(each)
        world.listeners.release(here(port))
        world.connect(port)
        world.listeners.open(here(port), world.put("cafe"))
        await world.turn()
        assert sorted(world.came) == [("", f"tcp://127.0.0.1:{own}"), *[("cafe", f"tcp://127.0.0.1:{port}")] * 2]


async def test_a_released_listener_is_open_and_accepts_none() -> None:
    with world_of() as world:
        port = closed_port()
        world.listeners.open(here(port), world.put("shop"))
        world.listeners.release(here(port))
        world.listeners.release(here(port))
        world.connect(port)
        await world.turn()
        assert world.came == []
        world.listeners.close(here(port))
        with pytest.raises(ConnectionRefusedError):
            world.connect(port)


async def test_a_port_in_use_is_a_fault_that_leaves_nothing_open_and_can_be_tried_again() -> None:
    with world_of() as world:
        files = open_files()
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = here(other.getsockname()[1])
            with pytest.raises(ListenError, match=f"cannot listen on {address}: in use by another process"):
                world.listeners.open(address, world.put("shop"))
        assert open_files() == files
        assert (list(world.listeners), world.listeners.opened) == ([], 0)
        world.listeners.open(address, world.put("shop"))
        assert list(world.listeners) == [str(address)]


async def test_a_listener_that_the_parent_cannot_keep_is_a_fault_that_leaves_nothing_open() -> None:
    with world_of(sockets=FullSockets()) as world:
        files, port = open_files(), closed_port()
        with pytest.raises(ListenError, match=f"cannot listen on {here(port)}"):
            world.listeners.open(here(port), world.put("shop"))
        assert open_files() == files
        assert (list(world.listeners), world.listeners.opened) == ([], 0)
        with pytest.raises(ConnectionRefusedError):
            world.connect(port)


async def test_an_address_that_this_machine_does_not_have_is_a_fault() -> None:
    with world_of() as world, pytest.raises(ListenError, match="this machine does not have it"):
        world.listeners.open(here(closed_port(), "192.0.2.1"), world.put("shop"))


async def test_all_listeners_share_one_reserve() -> None:
    files = open_files()
    with world_of("tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as world:
        some = open_files()
        for _ in range(3):
            world.listeners.open(here(closed_port()), world.put("shop"))
        assert open_files() == some + 3
        assert some - files >= 3  # two sockets and the reserve, and what the reactor has
    assert open_files() == files


async def test_beyond_the_bound_no_listener_is_opened_until_one_is_closed() -> None:
    with world_of("tcp://127.0.0.1:0", max_opened=2) as world:
        shop, ports = world.put("shop"), [closed_port() for _ in range(3)]
        for port in ports[:2]:
            world.listeners.open(here(port), shop)
        with pytest.raises(ListenError) as refused:
            world.listeners.open(here(ports[2]), shop)
        assert str(refused.value) == (
            f"cannot listen on tcp://127.0.0.1:{ports[2]}: services have 2 listeners, as many as the limit of open "
            "files allows; raise it with ulimit -n"
        )
        world.listeners.open(here(ports[0]), world.put("cafe"))
        world.listeners.close(here(ports[1]))
        world.listeners.open(here(ports[2]), shop)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOSPC])
async def test_a_process_without_descriptors_or_memory_to_watch_them_opens_none_and_says_why(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> Any:
        raise OSError(code, os.strerror(code))

    with world_of() as world:
        files, port = open_files(), closed_port()
        with monkeypatch.context() as patch:
            if code == errno.EMFILE:
                patch.setattr(socket.socket, "__init__", fails)
            else:
                patch.setattr(Reactor, "add_listener", fails)
            with pytest.raises(ListenError, match=os.strerror(code)):
                world.listeners.open(here(port), world.put("shop"))
        assert open_files() == files
        world.listeners.open(here(port), world.put("shop"))
        world.listeners.release(here(port))
        if code == errno.ENOSPC:  # a released one that cannot be watched stays released, and is tried again
            with monkeypatch.context() as patch:
                patch.setattr(Reactor, "add_listener", fails)
                with pytest.raises(ListenError, match=os.strerror(code)):
                    world.listeners.open(here(port), world.put("cafe"))
            world.listeners.open(here(port), world.put("cafe"))
            world.connect(port)
            await world.turn()
            assert world.came == [("cafe", f"tcp://127.0.0.1:{port}")]


async def test_its_own_addresses_are_numbers_and_paths() -> None:
    with world_of("tcp://localhost:0", "tcp://[::1]:0") as world:
        assert {each.rpartition(":")[0] for each in world.listeners.own} <= {"tcp://127.0.0.1", "tcp://[::1]"}
        assert [each.rpartition(":")[0] for each in world.listeners] == ["tcp://localhost", "tcp://[::1]"]


async def test_its_own_listeners_are_never_closed_or_handed_over_as_those_of_services() -> None:
    with world_of("tcp://127.0.0.1:0") as world:
        own = parse_address(world.listeners[0])
        world.listeners.close(own)
        world.listeners.release(own)
        with pytest.raises(ListenError, match="in use"):
            world.listeners.open(own, world.put("shop"))
        world.connect(own.port)
        world.listeners.close_own()
        with pytest.raises(ConnectionRefusedError):
            world.connect(own.port)
