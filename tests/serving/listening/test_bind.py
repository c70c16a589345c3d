"""Runtime tests of listening sockets: what can be bound, when it listens, and whose the file of a local socket is."""

import errno
import os
import socket
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.open_files import open_files
from tests.support.ports import closed_port
from tests.support.wires import connect, edge_to, receive_exactly, server, serving
from trioedge.addresses.address import Address, parse_address
from trioedge.loop.sockets import KEEPALIVE_PROBES
from trioedge.serving.listening.bind import LocalSocket, bind


def bind_and_listen(address: Address) -> None:
    (bound,) = bind([address])
    try:
        bound.listen()
    finally:
        bound.close()


async def test_a_port_in_use_is_named_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        edge = te.Edge(f"tcp://127.0.0.1:{port}", [], te.Forward("tcp://127.0.0.1:1"))
        with pytest.raises(te.ListenError) as raised:
            await edge.serve()
    assert f"tcp://127.0.0.1:{port}" in str(raised.value)
    assert "in use" in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_a_local_socket_on_which_no_process_listens_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    (bound,) = bind([parse_address(f"unix://{path}")])
    bound.listen()
    bound.close()
    assert not path.exists()


@pytest.mark.parametrize("kind", ["a file", "a folder", "a link"])
async def test_what_is_no_socket_is_left_alone_and_the_message_says_so(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    if kind == "a file":
        path.write_text("precious")
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    files = open_files()
    with pytest.raises(te.ListenError) as raised:
        bind([parse_address(f"unix://{path}")])
    assert str(raised.value) == (
        f"cannot listen on unix://{path}: {kind} that is no socket has this path; choose another, or remove it"
    )
    assert open_files() == files
    assert path.read_text() == "precious" if kind == "a file" else path.is_symlink() or path.is_dir()


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(te.ListenError, match=r"none/edge\.sock: No such file or directory; make its folder, or"):
        bind([parse_address(f"unix://{tmp_path}/none/edge.sock")])


@pytest.mark.parametrize(
    ("address", "mend"),
    [
        ("tcp://127.0.0.1:0", "ports below 1024 need CAP_NET_BIND_SERVICE"),
        ("unix:///{}/edge.sock", "write access to the"),
    ],
)
async def test_an_address_that_is_not_permitted_has_a_mend_of_its_kind(
    address: str, mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bind_fails(self: socket.socket, where: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bind_fails)
    files = open_files()
    with pytest.raises(te.ListenError, match=mend):
        bind_and_listen(parse_address(address.format(tmp_path), listening=True))
    assert open_files() == files


async def test_a_process_without_file_descriptors_cannot_listen_and_the_message_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def open_fails(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", open_fails)
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://127.0.0.1:1"))
    with pytest.raises(te.ListenError, match="cannot listen: Too many open files; raise the limit with ulimit -n"):
        await edge.serve()


async def test_a_name_with_two_addresses_is_bound_on_both_with_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server() as port:
        edge = te.Edge("tcp://localhost:0", [], te.Forward(f"tcp://127.0.0.1:{port}"))
        both = [(family, socket.SOCK_STREAM, 6, "", where) for family, where in BOTH]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            monkeypatch.undo()
            (address,) = edge.addresses
            for host in ("127.0.0.1", "::1"):
                async with await trio.open_tcp_stream(host, int(address.rpartition(":")[2])) as client:
                    await client.send_all(b"ping")
                    assert await receive_exactly(client, 4) == b"ping"
            edge.drain()


BOTH = [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET6, ("::1", 0, 0, 0))]


async def test_an_address_of_a_name_that_this_machine_does_not_have_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [(socket.AF_INET, ("192.0.2.1", 0)), BOTH[0]]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(f, 1, 6, "", where) for f, where in found])
    (bound,) = bind([parse_address("tcp://localhost:0", listening=True)])
    assert bound.sock.getsockname()[0] == "127.0.0.1"
    bound.close()
    found.pop()
    with pytest.raises(te.ListenError, match="Cannot assign requested address; this machine does not have it"):
        bind([parse_address("tcp://localhost:0", listening=True)])


@pytest.mark.parametrize("order", [("0.0.0.0", "[::]"), ("[::]", "0.0.0.0"), ("127.0.0.1", "[::]")])
async def test_all_of_ipv6_and_an_ipv4_address_share_a_port(order: tuple[str, str]) -> None:
    port = closed_port()
    bound = bind([parse_address(f"tcp://{host}:{port}", listening=True) for host in order])
    for each in bound:
        each.listen()
    ipv6 = next(each.sock for each in bound if each.sock.family == socket.AF_INET6)
    assert ipv6.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    for each in bound:
        each.close()


async def test_all_of_ipv6_alone_takes_ipv4_as_well() -> None:
    (bound,) = bind([parse_address("tcp://[::]:0", listening=True)])
    assert not bound.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    bound.close()


async def test_a_port_that_another_process_took_meanwhile_is_named_and_all_is_closed() -> None:
    files = open_files()
    port = closed_port()
    edge = te.Edge(f"tcp://127.0.0.1:{port}", [Sly(port)], te.Forward("tcp://127.0.0.1:1"))
    with pytest.RaisesGroup(te.ListenError, flatten_subgroups=True, allow_unwrapped=True):
        await edge.serve()
    Sly.other.close()
    assert edge.phase.value == "stopped"
    assert open_files() == files


class Sly:
    """A stage that listens on the edge's port before the edge does."""

    kind = "decision"
    other: socket.socket

    def __init__(self, port: int) -> None:
        self.port = port

    def open(self, context: te.EdgeContext) -> "Sly":
        Sly.other = socket.socket()
        Sly.other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        Sly.other.bind(("127.0.0.1", self.port))
        Sly.other.listen()
        return self

    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE


async def test_of_two_edges_that_bind_one_stale_local_socket_one_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    first, second = (LocalSocket(parse_address(f"unix://{path}")) for _ in range(2))
    first.listen()
    with pytest.raises(te.ListenError, match="in use"):
        second.listen()
    second.close()
    assert path.exists()
    first.close()
    assert not path.exists()


async def test_a_folder_whose_lock_another_user_keeps_delays_a_start_and_does_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    tries = 0

    def locked(fd: int, operation: int) -> None:
        nonlocal tries
        tries += 1
        raise BlockingIOError(errno.EAGAIN, "locked")

    monkeypatch.setattr(fcntl, "flock", locked)
    monkeypatch.setattr("time.sleep", lambda _: None)
    bound = LocalSocket(parse_address(f"unix://{tmp_path}/edge.sock"))
    bound.listen()
    bound.close()
    assert tries == 100


async def test_a_successor_replaces_the_socket_of_an_edge_that_drains_and_keeps_its_own(tmp_path: Path) -> None:
    address = parse_address(f"unix://{tmp_path}/admin.sock")
    old = LocalSocket(address, mode=0o600)
    old.listen()
    with pytest.raises(te.ListenError, match="in use"):
        LocalSocket(address)
    old.allow_successor()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address.path)  # it answers until the end
    new = LocalSocket(address, mode=0o600)
    new.listen()
    old.close()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address.path)
    with pytest.raises(te.ListenError, match="in use"):
        LocalSocket(address)
    new.close()
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a test


@pytest.mark.parametrize(
    ("seconds", "probes"), [(60, (1, 60, 15)), (8.4, (1, 8, 2)), (0.2, (1, 1, 1)), (0, (0, None, None))]
)
async def test_the_kernel_probes_silent_clients_as_the_edge_was_told(
    seconds: float, probes: tuple[int, int | None, int | None]
) -> None:
    async with server() as port:
        edge = edge_to(port, keepalive_seconds=seconds)
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
            (session,) = edge.sessions
            accepted: socket.socket = session.carrier.down.sock  # type: ignore[union-attr]  # a relay's
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == probes[0]
            if probes[0]:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == probes[1]
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == probes[2]
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == KEEPALIVE_PROBES
