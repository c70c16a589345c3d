"""Sockets that systemd passes: which are found, what they are asked for, and that they outlive an edge."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.open_files import open_files
from tests.support.passed_sockets import FIRST, passed
from tests.support.wires import connect, receive_exactly, server
from trioedge.addresses.address import parse_address
from trioedge.serving.listening.bind import bind
from trioedge.serving.listening.inherited import UNNAMED, hand_on, inherited, without_listener

WEB = parse_address("systemd:web", listening=True)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def fault() -> str:
    before = open_files()
    with pytest.raises(te.ListenError) as raised:
        bind([WEB])
    assert open_files() == before
    return str(raised.value)


def test_sockets_are_found_by_name_in_their_order_and_the_variables_are_gone(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    fd = listener.fileno()
    with passed(monkeypatch, [("web", fd), ("", fd), ("web", fd), ("admin", fd)]):
        assert inherited() == {"web": (FIRST, FIRST + 2), UNNAMED: (FIRST + 1,), "admin": (FIRST + 3,)}
        assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & set(os.environ)
        assert not os.get_inheritable(FIRST)
        assert inherited() is inherited()


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, {}),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {}),
        ({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"}, {}),
        ({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": ""}, {}),
        ({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}, {}),  # none is open there
    ],
)
def test_variables_of_another_process_and_wrong_ones_pass_nothing(
    variables: dict[str, str], found: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with passed(monkeypatch, []):
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert inherited() == found


def test_a_child_that_was_forked_has_what_its_parent_found(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    with passed(monkeypatch, [("web", listener.fileno())]):
        there = inherited()
        child = os.fork()
        if not child:
            os._exit(inherited() != there)
        assert os.waitpid(child, 0)[1] == 0


def test_a_program_that_takes_the_place_of_this_one_finds_the_sockets_again() -> None:
    starter = (
        "import fcntl, os, socket, sys\n"
        "spare = fcntl.fcntl(socket.create_server(('127.0.0.1', 0)), fcntl.F_DUPFD, 20)\n"
        "for fd in (3, 5): os.dup2(spare, fd)\n"
        "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '3', 'LISTEN_FDNAMES': 'web:gone:admin'}\n"
        "os.execv(sys.executable, [sys.executable, '-c', sys.argv[1], 'first', sys.argv[1]])\n"
    )
    code = (
        "import os, sys\n"
        "from trioedge.serving.listening.inherited import hand_on, inherited\n"
        "print(inherited(), flush=True)\n"
        "if sys.argv[1] == 'first':\n"
        "    environment = {**os.environ, **hand_on()}\n"
        "    os.execve(sys.executable, [sys.executable, '-c', sys.argv[2], 'second'], environment)\n"
    )
    done = subprocess.run([sys.executable, "-c", starter, code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "{'web': (3,), 'admin': (5,)}\n" * 2


def test_a_process_without_passed_sockets_hands_none_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with passed(monkeypatch, []):
        assert hand_on() == {}


def test_names_that_no_edge_listens_on_are_known(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    fd = listener.fileno()
    with passed(monkeypatch, [("web", fd), ("admin", fd)]):
        assert without_listener(iter(["tcp://127.0.0.1:1", "systemd:web"])) == ["admin"]


def test_every_socket_of_a_name_is_bound_and_says_where_it_listens(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket, tmp_path: Path
) -> None:
    local, path = socket.socket(socket.AF_UNIX), tmp_path / "edge.sock"
    local.bind(str(path))
    local.listen()
    with local, passed(monkeypatch, [("web", listener.fileno()), ("web", local.fileno())]):
        one, two = bind([WEB], keepalive_seconds=30)
        for each in (one, two):
            each.listen()
            assert each.given == WEB
            assert each.sock.getblocking() is False
            assert not os.get_inheritable(each.sock.fileno())
        assert str(one.address) == f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        assert str(two.address) == f"unix://{path}"
        assert one.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert one.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        one.close()
        two.close()
        assert path.exists()
        socket.create_connection(listener.getsockname()).close()


def test_a_name_that_was_not_passed_is_one_line_with_those_that_were(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    with passed(monkeypatch, [("redis", listener.fileno()), ("admin", listener.fileno())]):
        assert fault() == (
            "cannot listen on systemd:web: systemd passed none of this name, but redis, admin: see FileDescriptorName="
        )


def test_without_systemd_the_line_names_the_unit_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    with passed(monkeypatch, []):
        monkeypatch.delenv("LISTEN_PID")
        assert "systemd passed no socket: start a unit with FileDescriptorName=web" in fault()


def test_sockets_of_another_process_are_its_own_and_the_line_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with passed(monkeypatch, [], pid=1):
        assert (
            f"systemd passed sockets to process 1, and this is {os.getpid()}: let ExecStart= name trioedge" in fault()
        )


def datagram() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def abstract() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"\0trioedge-{os.getpid()}")
    sock.listen()
    return sock


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (datagram, "it is of the kind SOCK_DGRAM, which trioedge cannot serve: write ListenStream="),
        (lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), "it is of the kind SOCK_SEQPACKET"),
        (socket.socket, "it is a connection and accepts none: write Accept=no"),
        (abstract, "it is an abstract socket: write ListenStream= with a path"),
        (lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), "it is of the kind SOCK_RAW"),
    ],
)
def test_a_socket_of_a_wrong_kind_is_one_line_with_the_mend(
    make: Callable[[], socket.socket], says: str, monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    with make() as sock, passed(monkeypatch, [("web", listener.fileno()), ("web", sock.fileno())]):
        assert fault().startswith(f"cannot listen on systemd:web: {says}")


def test_a_descriptor_that_is_no_socket_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, passed(monkeypatch, [("web", file.fileno())]):
        assert fault() == (
            f"cannot listen on systemd:web: descriptor {FIRST} is no socket (Socket operation on non-socket): "
            "write ListenStream="
        )


async def test_two_runs_after_another_serve_one_passed_socket_and_a_client_between_them_waits(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    with passed(monkeypatch, [("web", listener.fileno())]):
        async with server() as upstream:
            stages = [te.Identify({"systemd:web": "shop"})]
            edge = te.Edge("systemd:web", stages, te.Forward(f"tcp://127.0.0.1:{upstream}"), drain_seconds=1)
            for _ in range(2):
                between = await connect(port)
                async with trio.open_nursery() as nursery:
                    await nursery.start(edge.serve)
                    assert edge.addresses == (f"tcp://127.0.0.1:{port}",)
                    await between.send_all(b"ping")
                    assert await receive_exactly(between, 4) == b"ping"
                    (session,) = edge.sessions
                    assert (session.listener, session.service.name) == ("systemd:web", "shop")
                    await between.aclose()
                    edge.drain()


async def test_an_edge_that_drains_accepts_no_client_of_a_socket_that_stays_open(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    with passed(monkeypatch, [("web", listener.fileno())]):
        async with server() as upstream:
            edge = te.Edge("systemd:web", [], te.Forward(f"tcp://127.0.0.1:{upstream}"), drain_seconds=5)
            async with trio.open_nursery() as nursery:
                await nursery.start(edge.serve)
                live = await connect(port)
                await live.send_all(b"ping")
                assert await receive_exactly(live, 4) == b"ping"
                edge.drain()
                await edge.phase.wait_value("draining")
                waiting = await connect(port)
                await waiting.send_all(b"late")
                await live.send_all(b"more")
                assert await receive_exactly(live, 4) == b"more"
                await live.aclose()
            assert edge.statistics().accepted == 1
        listener.setblocking(False)
        accepted, _ = listener.accept()
        assert accepted.recv(4) == b"late"
        accepted.close()
        await waiting.aclose()
