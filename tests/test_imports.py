"""A command starts as fast as its imports: heavy modules are imported where they are used."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

HEAVY = {
    "asyncio", "dns", "email", "http.client", "httpx", "hypercorn", "importlib.metadata", "netaddr", "pygments",
    "pyroute2", "rich", "sqlite3", "structlog",
}  # fmt: skip
"""Each takes from 5 to 60 ms, and Trio itself 100."""

COMMANDS_OF_OTHERS = {
    "trioedge.cli.completion", "trioedge.cli.demo", "trioedge.cli.diff", "trioedge.cli.doctor", "trioedge.cli.manual",
    "trioedge.cli.run", "trioedge.process.logs",
}  # fmt: skip


def imported_by(code: str) -> set[str]:
    """Give the modules that are there after a program, which runs by itself."""
    program = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return set(run.stderr.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert imported_by("import trioedge") & (HEAVY | {"cyclopts"}) == set()


@pytest.mark.parametrize("example", ["redis_edge", "first_edge", "custom_decision"])
def test_a_check_imports_nothing_heavy_and_no_other_command(example: str) -> None:
    found = imported_by(f"from trioedge.cli import main\nassert main(['check', 'examples/{example}.py']) == 0")
    assert found & (HEAVY | COMMANDS_OF_OTHERS | {"cyclopts"}) == set()
    assert "trioedge.cli.check" in found


def test_an_edge_that_forwards_imports_no_library_that_it_does_not_use() -> None:
    found = imported_by(
        "import signal\nimport trioedge as te\n"
        "class Ready:\n    def decide(self, session): return te.CONTINUE\n"
        "    async def run(self, *, task_status):\n        task_status.started()\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "stages = [Ready(), te.SessionGate(rate=5), te.SourceMatch(accept=['127.0.0.0/8'])]\n"
        "assert te.run(te.Edge('tcp://127.0.0.1:0', stages, te.Forward('tcp://127.0.0.1:1'))) == 0"
    )
    unused = {"cyclopts", "httpx", "hypercorn", "netaddr", "pyroute2", "python_socks", "sqlite3"}
    assert found & unused == set()
    assert {"dns", "structlog", "trio"} <= found


def test_a_check_of_a_file_of_services_imports_the_log_for_its_warnings_and_no_more() -> None:
    found = imported_by("from trioedge.cli import main\nassert main(['check', 'examples/multi_tenant.py']) == 0")
    assert found & HEAVY <= {"asyncio", "email", "importlib.metadata", "pygments", "rich", "structlog"}


def test_a_command_that_asks_an_edge_imports_neither_a_log_nor_another_client() -> None:
    call = "from trioedge.cli import main\nassert main(['state', '--check', '--edge', 'unix:///none/edge.sock']) == 3"
    found = imported_by(call)
    assert found & (HEAVY - {"rich", "pygments"}) == set()
    assert found & COMMANDS_OF_OTHERS == set()
