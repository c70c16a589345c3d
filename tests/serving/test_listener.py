import socket
import stat
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.wires import connect, edge_to, receive_all, receive_exactly, server, serving
from trioedge.addresses.address import parse_address
from trioedge.serving.listener import bind


async def exchange(connection: trio.abc.HalfCloseableStream, data: bytes = b"ping") -> bytes:
    await connection.send_all(data)
    return await receive_exactly(connection, len(data))


async def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        edge = te.Edge(f"tcp://127.0.0.1:{port}", [], te.Forward("tcp://127.0.0.1:1"))
        with pytest.raises(te.ListenError) as raised:
            await edge.serve()
    assert f"tcp://127.0.0.1:{port}" in str(raised.value)
    assert "in use" in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_several_addresses_are_served_and_none_if_one_cannot_be() -> None:
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


async def test_a_mapped_address_is_seen_as_ipv4() -> None:
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


async def test_a_local_socket_is_served_and_its_file_goes_with_it(tmp_path: Path) -> None:
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
                bind(parse_address(f"unix://{path}"))
            nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_a_local_socket_that_nobody_listens_on_is_replaced_but_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    bind(parse_address(f"unix://{path}")).close()
    path.write_text("precious")
    with pytest.raises(te.ListenError):
        bind(parse_address(f"unix://{path}"))
    assert path.read_text() == "precious"


async def test_refused_clients_are_reset_or_politely_closed_as_asked() -> None:
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
