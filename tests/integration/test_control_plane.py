"""A real control plane in a process of its own, killed and started again while an edge serves."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

import trioedge as te
from tests.support.ports import closed_port
from tests.support.wires import connect, receive_all, receive_exactly, server
from trioedge.control import http, reporter, watched_file

ROOT = Path(__file__).parents[2]
TOKEN = "of-the-test"


@asynccontextmanager
async def control_plane(port: int, database: Path) -> AsyncIterator[trio.Process]:
    """Run the example until the block ends, or the test kills it."""
    command = [sys.executable, "-m", "examples.control_plane", "--port", str(port), "--database", str(database)]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"CONTROL_TOKEN": TOKEN}
    )
    assert process.stdout is not None
    try:
        async with process.stdout:
            assert (await process.stdout.receive_some()).startswith(f"http://127.0.0.1:{port}".encode())
            yield process
    finally:
        process.kill()
        await process.wait()


async def ask(method: str, url: str, said: dict[str, Any] | None = None) -> Any:
    """Talk to the control plane as an operator does."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
        response = await client.request(method, url, json=said)
        response.raise_for_status()
        return json.loads(response.content) if response.content else None


async def until(done: Any) -> None:
    with trio.fail_after(10):
        while not done():
            await trio.sleep(0.01)


class Customer:
    """A session that says something and waits for the echo, again and again."""

    def __init__(self) -> None:
        self.said = 0
        self.cut = False
        self._closing = False

    async def run(self, port: int, source: str) -> None:
        async with await connect(port, source) as connection:
            while not self._closing:
                try:
                    await connection.send_all(b"hello")
                    assert await receive_exactly(connection, 5) == b"hello"
                except trio.BrokenResourceError:
                    self.cut = True
                    return
                self.said += 5
                await trio.sleep(0.02)
            await connection.send_eof()
            assert await receive_all(connection) == b""

    def close(self) -> None:
        self._closing = True


async def test_a_control_plane_that_is_killed_costs_no_session_and_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes two seconds: three processes of Python start, one after another."""
    monkeypatch.setattr(http, "FIRST_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(http, "MAX_RETRY_SECONDS", 0.2)
    monkeypatch.setattr(reporter, "FIRST_RETRY_SECONDS", 0.1)
    port, database = closed_port(), tmp_path / "control.db"
    url = f"http://127.0.0.1:{port}"
    customers = {f"127.0.0.{number}": Customer() for number in range(1, 10)}

    async with server() as upstream, trio.open_nursery() as nursery, trio.open_nursery() as edges:
        edge = te.Edge(
            "tcp://127.0.0.1:0",
            stages=[te.DeviceLimit(), te.Pacing(), te.SourceMatch()],
            endpoint=te.Forward(f"tcp://127.0.0.1:{upstream}"),
            control=te.HttpControl(url, token=TOKEN),
            name="edge-1",
            report_seconds=0.1,
        )
        async with control_plane(port, database) as process:
            await ask("PUT", f"{url}/services/default", {"down_rate": "10 MB/s"})
            await edges.start(edge.serve)
            edge_port = int(edge.addresses[0].rpartition(":")[2])
            for source, customer in customers.items():
                nursery.start_soon(customer.run, edge_port, source)
            await until(lambda: all(customer.said for customer in customers.values()))

            await ask("PUT", f"{url}/services/default", {"down_rate": "20 MB/s", "reject": ["127.0.0.9"]})
            await until(lambda: customers["127.0.0.9"].cut)
            assert edge.services["default"].policy.down_rate == 20e6
            process.send_signal(signal.SIGKILL)
            await process.wait()

        await until(lambda: edge.control_state().error)
        said = {source: customer.said for source, customer in customers.items()}
        customers["127.0.0.10"] = Customer()  # newcomers are served meanwhile
        nursery.start_soon(customers["127.0.0.10"].run, edge_port, "127.0.0.10")
        await until(lambda: customers["127.0.0.10"].said)
        await until(lambda: all(customer.said > said.get(source, 0) or customer.cut
                                for source, customer in customers.items()))  # fmt: skip

        async with control_plane(port, database):
            await until(lambda: not edge.control_state().error)
            await ask("PUT", f"{url}/services/default", {"down_rate": "30 MB/s"})
            await until(lambda: edge.services["default"].policy.down_rate == 30e6)
            for customer in customers.values():
                customer.close()
            await until(lambda: len(edge.sessions) == 0)
            assert [source for source, customer in customers.items() if customer.cut] == ["127.0.0.9"]
            edge.drain()
            with trio.fail_after(10):
                while edge.addresses:
                    await trio.sleep(0.01)
            service = edge.services["default"]
            totals = await ask("GET", f"{url}/services/default/totals")
            assert totals == {"bytes_up": service.up.bytes, "bytes_down": service.down.bytes, "opened": 10}
            said_in_all = sum(customer.said for customer in customers.values())
            for way in ("bytes_up", "bytes_down"):  # who was cut may have had a word under way
                assert 0 <= totals[way] - said_in_all <= 5


async def test_a_file_that_changes_is_seen_by_an_edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_file, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(watched_file, "SETTLED_SECONDS", 0.01)
    path = tmp_path / "services.toml"

    def write(policy: str) -> None:
        path.with_name("new").write_text(f"[services.default]\n{policy}\n")
        path.with_name("new").rename(path)

    write("")
    async with server() as upstream, trio.open_nursery() as nursery:
        edge = te.Edge(
            "tcp://127.0.0.1:0",
            stages=[te.SourceMatch()],
            endpoint=te.Forward(f"tcp://127.0.0.1:{upstream}"),
            control=te.FileControl(path),
        )
        await nursery.start(edge.serve)
        customer = Customer()
        nursery.start_soon(customer.run, int(edge.addresses[0].rpartition(":")[2]), "127.0.0.1")
        await until(lambda: customer.said)
        write("session_rate = 0")
        await until(lambda: edge.control_state().error)
        assert "services.default.session_rate = 0 must be a number above 0" in edge.control_state().error
        assert not customer.cut
        write('reject = ["127.0.0.1"]')
        await until(lambda: customer.cut)
        assert edge.control_state().error == ""
        nursery.cancel_scope.cancel()
