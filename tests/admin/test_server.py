"""The admin API on its socket."""

from pathlib import Path

import httpx
import pytest
import trio

import trioedge as te
from tests.support.wires import server

LINES = b'{"version": "8", "full": true}\n{"name": "default", "down_rate": 10}\n{"end": 1}\n'


async def test_the_socket_is_for_its_user_alone_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    control = te.MemoryControl({"default": te.Policy(down_rate=1_000)})
    async with server() as port, trio.open_nursery() as nursery:
        forward = te.Forward(f"tcp://127.0.0.1:{port}")
        edge = te.Edge("tcp://127.0.0.1:0", [te.Pacing()], forward, control=control, admin=f"unix://{path}")
        await nursery.start(edge.serve)
        assert path.stat().st_mode & 0o777 == 0o600
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
            answer = await client.post("http://edge/v1/plan", content=LINES)
            assert answer.json()["says"] == "changes 1 service; touches no session"
            assert edge.services["default"].policy.down_rate == 1_000, "a plan changes nothing"
            assert (await client.get("http://edge/v1/state")).json()["services"] == 1
            answer = await client.post("http://edge/v1/apply", content=LINES)
            assert edge.services["default"].policy.down_rate == 10
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_a_socket_in_a_missing_directory_is_a_listen_error(tmp_path: Path) -> None:
    admin = f"unix://{tmp_path}/none/edge.sock"
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://127.0.0.1:1"), admin=admin)
    missing = pytest.RaisesExc(te.ListenError, match="cannot listen on unix:///.*No such file")
    with pytest.RaisesGroup(missing, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
