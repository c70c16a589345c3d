import errno
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.open_files import open_files
from tests.support.wires import connect, edge_to, receive_all, receive_exactly, server, serving
from trioedge.addresses.address import parse_address
from trioedge.serving.listening.bind import TcpSocket, bind
from trioedge.serving.listening.listener import PAUSE_SECONDS, Listener
from trioedge.serving.listening.reserve import Reserve
from trioedge.telemetry.log import EdgeLog


async def exchange(connection: trio.abc.HalfCloseableStream, data: bytes = b"ping") -> bytes:
    await connection.send_all(data)
    return await receive_exactly(connection, len(data))


async def test_several_addresses_are_served_and_none_of_them_if_one_cannot_be_bound() -> None:
    async with server() as port:
        edge = te.Edge(["tcp://127.0.0.1:0", "tcp://[::1]:0"], [], te.Forward(f"tcp://127.0.0.1:{port}"))
        async with serving(edge):
            assert len(edge.addresses) == 2
            for address in edge.addresses:
                host, _, number = address.removeprefix("tcp://").rpartition(":")
                async with await trio.open_tcp_stream(host.strip("[]"), int(number)) as client:
                    assert await exchange(client) == b"ping"
        assert not edge.addresses
        with socket.create_server(("127.0.0.1", 0)) as taken:
            first = socket.socket()
            first.bind(("127.0.0.1", 0))
            free = first.getsockname()[1]
            first.close()
            both = te.Edge(
                [f"tcp://127.0.0.1:{free}", f"tcp://127.0.0.1:{taken.getsockname()[1]}"],
                [],
                te.Forward(f"tcp://127.0.0.1:{port}"),
            )
            with pytest.raises(te.ListenError):
                await both.serve()
        with pytest.raises(OSError, match="all attempts"):
            await trio.open_tcp_stream("127.0.0.1", free)


async def test_an_ipv4_client_of_an_ipv6_listener_has_its_ipv4_address() -> None:
    seen: list[str] = []

    @te.decision
    def note(session: te.Session) -> te.Verdict:
        seen.append(session.source)
        return te.CONTINUE

    async with server() as port:
        edge = te.Edge("tcp://[::]:0", [note, te.SourceMatch(["127.0.0.0/8"])], te.Forward(f"tcp://127.0.0.1:{port}"))
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            assert await exchange(client) == b"ping"
    assert seen == ["127.0.0.1"]


async def test_a_local_socket_is_served_and_its_file_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    async with server() as port:
        edge = te.Edge(f"unix://{path}", [te.SourceMatch(["unix"])], te.Forward(f"tcp://127.0.0.1:{port}"))
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            assert stat.S_ISSOCK(path.stat().st_mode)
            async with await trio.open_unix_socket(path) as client:
                assert await exchange(client) == b"ping"
                assert [session.source for session in edge.sessions] == ["unix"]
            with pytest.raises(te.ListenError, match="in use"):
                bind([parse_address(f"unix://{path}")])
            nursery.cancel_scope.cancel()
    assert not path.exists()


@pytest.mark.parametrize("change", ["replaced by another", "its folder is a file now", "gone"])
async def test_a_drain_goes_on_when_the_file_of_a_local_socket_has_changed(change: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / "edge.sock"
    edge = te.Edge(f"unix://{path}", [], te.Forward("tcp://127.0.0.1:1"))
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        path.unlink()
        if change == "replaced by another":
            path.write_text("another's")
        elif change == "its folder is a file now":
            folder.rmdir()
            folder.write_text("a file")
        edge.drain()
    assert edge.phase.value == "stopped"
    assert change != "replaced by another" or path.read_text() == "another's"


async def test_a_listener_is_closed_twice_or_before_it_is_opened_without_harm() -> None:
    reserve = Reserve()
    files = open_files()
    (bound,) = bind([parse_address("tcp://127.0.0.1:0", listening=True)])
    listener = Listener(bound, reserve)
    listener.close()
    listener.close()
    assert open_files() == files
    reserve.close()


class FailingSocket:
    """A listening socket whose accepts are scripted; errors by number, or None for no connection."""

    family = socket.AF_INET

    def __init__(self, *codes: int) -> None:
        self.codes = [*codes]

    def fileno(self) -> int:
        return 1000

    def _accept(self) -> tuple[int, object]:
        raise OSError(self.codes.pop(0), "as told") if self.codes else BlockingIOError

    def listen(self, backlog: int) -> None: ...

    def close(self) -> None: ...


class NotedReactor:
    """Notes what a listener asks for."""

    def __init__(self) -> None:
        self.now = 100.0
        self.batch = 64
        self.calls: list[str] = []
        self.due: float | None = None
        self.fails: OSError | None = None

    def add_listener(self, fd: int, ready: object) -> None:
        self.calls.append("add")
        if self.fails is not None:
            raise self.fails

    def remove(self, fd: int) -> None:
        self.calls.append("remove")

    def forget(self, fd: int) -> None:
        self.calls.append("forget")

    def set_deadline(self, item: object, due: float) -> int:
        self.due = due
        return 0


def never(*_: object) -> None:
    pytest.fail("no connection was accepted")


def open_failing(*codes: int) -> tuple[Listener, NotedReactor]:
    sock: Any = FailingSocket(*codes)
    reactor: Any = NotedReactor()
    listener = Listener(TcpSocket(sock, parse_address("tcp://127.0.0.1:6380")), Reserve())
    listener.open(reactor, EdgeLog(), never, never)
    return listener, reactor


async def test_a_listener_pauses_while_the_system_has_no_memory_for_sockets() -> None:
    listener, reactor = open_failing(errno.ENOBUFS)
    with capture_logs() as logs:
        listener.on_ready(1000, 1)
    assert (reactor.calls, reactor.due) == (["add", "remove"], 100.0 + PAUSE_SECONDS)
    assert [entry["event"] for entry in logs] == ["listener pauses"]
    listener.expire(100.1)
    assert reactor.calls == ["add", "remove", "add"]
    listener.close()


async def test_a_listener_whose_pause_cannot_end_for_want_of_memory_pauses_again() -> None:
    listener, reactor = open_failing(errno.ENOMEM)
    listener.on_ready(1000, 1)
    reactor.fails = OSError(errno.ENOSPC, "no memory to watch a socket")
    listener.expire(100.1)
    assert (reactor.calls, reactor.due) == (["add", "remove", "add"], 100.1 + PAUSE_SECONDS)
    reactor.fails = None
    listener.expire(100.2)
    assert (reactor.calls[-1], reactor.due) == ("add", 100.1 + PAUSE_SECONDS)
    listener.close()


async def test_a_connection_that_is_gone_before_it_is_accepted_does_not_stop_the_next_ones() -> None:
    listener, reactor = open_failing(errno.ECONNABORTED, errno.EPROTO)
    listener.on_ready(1000, 1)
    assert reactor.calls == ["add"]
    assert listener._sock.codes == []  # type: ignore[attr-defined]
    listener.close()


async def test_refused_clients_are_reset_or_closed_in_order_as_the_edge_was_told() -> None:
    for refuse in ("reset", "close"):
        async with server() as port:
            edge = edge_to(port, te.SourceMatch(reject=["127.0.0.2"]), refuse=refuse)
            async with serving(edge) as edge_port, await connect(edge_port, "127.0.0.2") as client:
                if refuse == "close":
                    assert await receive_all(client) == b""
                else:
                    with pytest.raises(trio.BrokenResourceError):
                        await receive_all(client)
                assert edge.statistics().refused == {te.Reason.SOURCE: 1}
