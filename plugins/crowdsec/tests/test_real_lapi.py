"""An edge and a real CrowdSec on this machine: decisions as cscli makes them, and a local API that goes and comes back.

Skips where `crowdsec` and `cscli` are missing (Debian: crowdsec). Takes some seconds, because a real one starts twice.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
import trioedge as te
from trioedge.testing import open_edge

from trioedge_crowdsec import CrowdSec

CONFIG = """
common: {{daemonize: false, log_media: stdout, log_level: warning, working_dir: .}}
config_paths: {{config_dir: {folder}, data_dir: {folder}, simulation_path: {folder}/simulation.yaml,
  hub_dir: {folder}/hub, index_path: {folder}/hub/.index.json, notification_dir: {folder}/none,
  plugin_dir: {folder}/none}}
db_config: {{type: sqlite, use_wal: true, db_path: {folder}/crowdsec.db, log_level: warning}}
api:
  client: {{credentials_path: {folder}/credentials.yaml}}
  server: {{listen_uri: "127.0.0.1:{port}", profiles_path: {folder}/profiles.yaml, log_level: warning,
    console_path: {folder}/console.yaml}}
prometheus: {{enabled: false}}
"""

pytestmark = pytest.mark.skipif(
    shutil.which("crowdsec") is None or shutil.which("cscli") is None,
    reason="crowdsec and cscli are missing: apt-get install crowdsec",
)


class RealCrowdSec:
    """A CrowdSec with a database of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._config = folder / "config.yaml"
        self._config.write_text(CONFIG.format(folder=folder, port=port))
        (folder / "simulation.yaml").write_text("simulation: false\n")
        (folder / "profiles.yaml").write_text(
            "name: none\nfilters: ['false']\ndecisions: [{type: ban, duration: 4h}]\n"
        )
        (folder / "hub").mkdir()
        (folder / "hub/.index.json").write_text("{}")
        self.cscli("machines", "add", "test", "--password", "test", "-f", f"{folder}/credentials.yaml", "-u", self.url)
        self.key = self.cscli("bouncers", "add", "edge", "-o", "raw").strip()

    def cscli(self, *arguments: str) -> str:
        done = subprocess.run(
            ["cscli", "-c", str(self._config), *arguments], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            process = await trio.lowlevel.open_process(
                ["crowdsec", "-c", str(self._config), "-no-cs"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ),
            )  # fmt: skip
            try:
                async with httpx.AsyncClient(trust_env=False) as client:
                    with trio.fail_after(20):
                        while not await self._answers(client):
                            await trio.sleep(0.1)
                yield
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
            nursery.cancel_scope.cancel()

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        try:
            await client.get(f"{self.url}/health")
        except httpx.HTTPError:
            return False
        return True


async def test_an_edge_follows_a_real_local_api(tmp_path: Path) -> None:
    real = RealCrowdSec(tmp_path)
    edge = te.Edge(
        "tcp://127.0.0.1:1", [CrowdSec(real.key, real.url, poll_seconds=1)], te.Forward("tcp://192.0.2.200:1")
    )
    async with open_edge(edge) as rehearsal:

        async def until(source: str, reason: te.Reason | None) -> None:
            """Wait until a client from `source` is refused or, with None, served."""
            with trio.fail_after(15):
                while True:
                    client = await rehearsal.connect(source)
                    outcome = client.outcome
                    await client.close()
                    if (outcome and outcome.reason) is reason:
                        return
                    await trio.sleep(0.1)

        async with real.running():
            for arguments in (["--ip", "192.0.2.7"], ["--range", "198.51.100.0/24"], ["--ip", "2001:db8::7"]):
                real.cscli("decisions", "add", *arguments, "--reason", "crowdsecurity/ssh-bf")
            live = await rehearsal.connect("203.0.113.9")
            for source in ("192.0.2.7", "198.51.100.99", "2001:db8::7"):
                await until(source, te.Reason.SOURCE)
            refused = await rehearsal.connect("192.0.2.7")
            assert refused.outcome == te.Reject(te.Reason.SOURCE, "crowdsec: ban by crowdsecurity/ssh-bf")
            real.cscli("decisions", "add", "--ip", "192.0.2.7", "--reason", "again", "--duration", "1h")
            real.cscli("decisions", "delete", "--id", "1")
            real.cscli("decisions", "delete", "--range", "198.51.100.0/24")
            await until("198.51.100.99", None)
            await until("192.0.2.7", te.Reason.SOURCE)
            real.cscli("decisions", "add", "--ip", "203.0.113.9")
            with trio.fail_after(15):
                assert (await live.ended()).reason is te.Reason.SOURCE
        await trio.sleep(1.5)
        await until("192.0.2.7", te.Reason.SOURCE)
        async with real.running():
            real.cscli("decisions", "delete", "--ip", "192.0.2.7")
            await until("192.0.2.7", None)
            await until("203.0.113.9", te.Reason.SOURCE)
