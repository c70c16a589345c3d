"""Requests that schemathesis makes out of the description of the admin API, good ones and hostile ones: all its checks.

A drain is not passed on, because it would end the edge. The event stream, which does not end by itself, is left out.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.edges import by_source, services
from tests.support.logging_state import logging_restored
from tests.support.ports import closed_port
from trioedge.admin.asking import LocalAsker
from trioedge.admin.controlling import LocalControl
from trioedge.admin.operations import LOCAL
from trioedge.admin.server import AdminServer
from trioedge.edge import local_of
from trioedge.testing.rehearsal import open_edge

EXAMPLES = 15
"""Random requests to each operation, beside those that cover each of its constraints."""

LINES_OF_SNAPSHOTS = """
import schemathesis

@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value if isinstance(value, bytes) else str(value).encode()
"""

SETTINGS = """
[[operations]]
include-path-regex = "/v1/(plan|apply)"
checks.positive_data_acceptance.expected-statuses = [200, 422]  # a schema cannot say that lines are a snapshot

[[operations]]
include-path = "/page/{file}"
checks.positive_data_acceptance.expected-statuses = [200, 404]
"""


@pytest.mark.usefixtures("_token")
async def test_no_check_of_schemathesis_fails(tmp_path: Path) -> None:
    (tmp_path / "lines_of_snapshots.py").write_text(LINES_OF_SNAPSHOTS)
    (tmp_path / "settings.toml").write_text(SETTINGS)
    port = closed_port()
    edge = te.Edge(
        "tcp://127.0.0.1:6380", [te.Identify(by_source), te.DeviceLimit()], te.Forward("tcp://192.0.2.9:1"),
        control=services(a=te.Policy(), b=te.Policy()),
    )  # fmt: skip
    drains: list[float | None] = []
    async with open_edge(edge) as world, trio.open_nursery() as nursery:
        await world.connect("192.0.2.1")
        local = local_of(edge)
        control = LocalControl(local, edge.stage_keys, drains.append)
        admin = te.Admin(f"tcp://127.0.0.1:{port}", token=te.Secret(env="ADMIN_TOKEN"))
        with local.recording():
            await nursery.start(AdminServer(admin, LocalAsker(local, LOCAL), control, local.run.log).serve)
            done = await trio.run_process(
                [
                    sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
                    "--config-file", tmp_path / "settings.toml",
                    "run", f"http://127.0.0.1:{port}/openapi.json", "--header", "Authorization: Bearer a-token",
                    "--exclude-path", "/v1/events", "--checks", "all", "--phases", "examples,coverage,fuzzing",
                    "--max-examples", str(EXAMPLES), "--generation-deterministic", "--no-color",
                ],
                capture_stdout=True, stderr=subprocess.STDOUT, check=False, cwd=tmp_path,
                env={**os.environ, "SCHEMATHESIS_HOOKS": "lines_of_snapshots", "PYTHONPATH": str(tmp_path)},
            )  # fmt: skip
        assert done.returncode == 0, done.stdout.decode()
        assert edge.phase.value == "serving"
        assert drains
        nursery.cancel_scope.cancel()


@pytest.fixture
def _token(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ADMIN_TOKEN", "a-token")
    with logging_restored():
        yield
