"""Clients of several addresses of this machine, over real sockets, before an edge whose table is replaced."""

from typing import Any

import trio
import trioedge as te
from tables import WriteTable

from trioedge_geoip import GeoIp
from trioedge_geoip import changes as changes_module
from trioedge_geoip import geo_ip as geo_ip_module


async def answered(port: int, source: str) -> bool:
    """Connect from an address, and tell whether the edge let the client say something."""
    sock = trio.socket.socket()
    try:
        await sock.bind((source, 0))
        await sock.connect(("127.0.0.1", port))
        await sock.send(b"hello")
        return await sock.recv(5) == b"hello"
    except ConnectionError:
        return False
    finally:
        sock.close()


async def echo(session: te.Session) -> te.Outcome:
    await session.stream.send_all(await session.stream.receive_some())
    return te.Completed()


async def test_a_table_is_replaced_while_an_edge_serves(table: WriteTable, log: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(geo_ip_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(changes_module, "SETTLED_SECONDS", 0.02)
    german, french = {"country": {"iso_code": "DE"}}, {"country": {"iso_code": "FR"}}
    path = table({"127.0.0.2/32": german, "127.0.0.3/32": french})
    async with trio.open_nursery() as nursery:
        edge = te.Edge("tcp://127.0.0.1:0", [GeoIp(path, accept_countries=["DE"])], echo)
        await nursery.start(edge.serve)
        port = int(edge.addresses[0].rpartition(":")[2])
        sources = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
        assert [await answered(port, source) for source in sources] == [True, False, False]
        table({"127.0.0.2/32": french, "127.0.0.3/32": german})
        with trio.fail_after(5):
            while sum(line["event"] == "geoip table loaded" for line in log) < 2:
                await trio.sleep(0.01)
        assert [await answered(port, source) for source in sources] == [False, True, False]
        assert edge.statistics().refused == {te.Reason.SOURCE: 4}
        nursery.cancel_scope.cancel()
