"""``trioedge run edge.toml`` as a process: several edges, a plugin's mistake, and changes while it serves."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest
import trio

from tests.support.command_line import finished, running
from tests.support.packages import Packages, plugin
from tests.support.wires import server
from trioedge.testing import echo

EDGE = """
[edge.{name}]
listen = "tcp://127.0.0.1:0"
stages = [{stages}]
endpoint = {{ use = "forward", to = "tcp://127.0.0.1:{port}" }}
"""
EXAMPLE = Path(__file__).parents[2] / "examples/redis_edge.py"
ODD = '''
class Odd:
    kind = "decision"

    def __init__(self, when: str = "never") -> None:
        """Fail.

        Args:
            when: at which moment.
        """
        self.when = when
        if when == "made":
            raise ZeroDivisionError("made")

    def open(self, context):
        if self.when == "opened":
            raise ZeroDivisionError("opened")
        return self

    def decide(self, session):
        raise ZeroDivisionError("asked")
'''


@pytest.fixture
def path(tmp_path: Path, packages: Packages, monkeypatch: pytest.MonkeyPatch) -> Path:
    packages.add("trioedge-odd", entry_points=plugin("stages", "odd", "trioedge_odd:Odd"), trioedge_odd=ODD)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(packages.folder), *filter(None, sys.path)]))
    return tmp_path / "edge.toml"


def edge(name: str, port: int, stages: str = "") -> str:
    return EDGE.format(name=name, port=port, stages=stages)


def write(path: Path, text: str) -> None:
    path.write_text(text)


def edit(path: Path, before: str, after: str) -> None:
    write(path, path.read_text().replace(before, after))


def port_of(line: str) -> int:
    found = re.search(r"127\.0\.0\.1:(\d+)", line)
    assert found is not None
    return int(found[1])


async def answers(port: int) -> bool:
    """Tell whether an edge relays to the server of the test."""
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port) as client:
            await client.send_all(b"hello")
            return await client.receive_some(5) == b"hello"
    except (OSError, trio.BrokenResourceError):  # refused, which a client may see as early as its connect
        return False


async def test_all_edges_of_a_file_serve_and_drain_together(path: Path) -> None:
    async with server(echo) as upstream:
        write(path, edge("one", upstream) + edge("two", upstream))
        async with running("run", str(path), "--log-format", "json") as process:
            ports = [port_of(await process.says(f'"edge": "{name}"')) for name in ("one", "two")]
            assert [await answers(port) for port in ports] == [True, True]
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
    assert process.stderr.count('"event": "stopped"') == 2


async def test_one_edge_of_a_file_serves_alone(path: Path) -> None:
    async with server(echo) as upstream:
        write(path, edge("one", upstream) + edge("two", upstream))
        async with running("run", f"{path}:two") as process:
            assert await answers(port_of(await process.says("listening")))
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
    assert process.stderr.count("listening") == 1


@pytest.mark.parametrize("when", ["made", "opened"])
async def test_a_plugins_mistake_costs_its_own_edge(path: Path, when: str) -> None:
    async with server(echo) as upstream:
        write(path, edge("bad", upstream, f'{{ use = "odd", when = "{when}" }}') + edge("good", upstream))
        async with running("run", str(path), "--log-format", "json") as process:
            assert await answers(port_of(await process.says('"event": "listening"')))
            assert '"edge": "bad"' in await process.says("ZeroDivisionError")
            process.signal(signal.SIGTERM)
            assert await process.ends() == 1


async def test_a_plugins_mistake_at_run_time_costs_a_session(path: Path) -> None:
    async with server(echo) as upstream:
        write(path, edge("bad", upstream, '{ use = "odd" }') + edge("good", upstream))
        async with running("run", str(path), "--log-format", "json") as process:
            bad, good = [port_of(await process.says(f'"edge": "{name}"')) for name in ("bad", "good")]
            for _ in range(3):
                assert not await answers(bad)
                assert await answers(good)
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0


async def test_a_file_whose_edges_are_all_broken_ends_with_its_faults(path: Path) -> None:
    write(path, edge("a", 1, '{ use = "odd", when = "made" }') + edge("b", 1, '{ use = "odd", when = "made" }'))
    code, _, err = await finished("run", str(path))
    assert code == 2
    assert re.findall(r"^trioedge: \S+:(\d+): edge\.(.)\.stages\[0\] Odd failed: ", err, re.MULTILINE) == [
        ("4", "a"), ("9", "b")
    ]  # fmt: skip


async def test_an_address_in_use_costs_its_own_edge_and_no_edge_left_is_the_end(path: Path) -> None:
    async with server(echo) as upstream:
        taken = edge("a", upstream).replace("127.0.0.1:0", f"127.0.0.1:{upstream}")
        write(path, taken + edge("b", upstream))
        async with running("run", str(path), "--log-format", "json") as process:
            assert await answers(port_of(await process.says('"event": "listening"')))
            line = await process.says("edge cannot start")
            assert f"cannot listen on tcp://127.0.0.1:{upstream}" in line
            assert '"edge": "a"' in line
            process.signal(signal.SIGTERM)
            assert await process.ends() == 1
        async with server(echo) as other:
            write(path, taken + edge("b", upstream).replace("127.0.0.1:0", f"127.0.0.1:{other}"))
            code, _, err = await finished("run", str(path))
    assert code == 3
    assert re.search(r"^trioedge: edge\.[ab]: cannot listen on tcp://127\.0\.0\.1:", err, re.MULTILINE)


async def test_the_log_level_of_the_file_applies_while_it_serves(path: Path) -> None:
    async with server(echo) as upstream:
        gate = '{ use = "session-gate", rate = 0.001, burst = 1 }'
        write(path, 'process = { log_level = "info", log_format = "json" }\n' + edge("a", upstream, gate))
        async with running("run", str(path)) as process:
            port = port_of(await process.says('"event": "listening"'))
            assert await answers(port)
            assert not await answers(port)
            edit(path, '"info"', '"debug"')
            await process.says('"event": "log level changed"')
            assert not await answers(port)
            assert "SessionGate" in await process.says('"event": "session refused"')
            edit(path, "rate =", "rat =")
            process.signal(signal.SIGHUP)
            assert "did you mean 'rate'?" in await process.says("edge file has faults")
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
    assert process.stderr.count('"event": "session refused"') == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--listen", "tcp://127.0.0.1:0"], "--listen is for one edge, and "),
        (["--print-toml"], "is TOML already: --print-toml is for an edge in Python"),
        (["--drain-seconds", "-1"], "--drain-seconds -1 must be at least 0"),
    ],
)
async def test_an_option_that_does_not_fit_a_file_is_one_line(path: Path, options: list[str], says: str) -> None:
    write(path, edge("one", 1) + edge("two", 1))
    code, _, err = await finished("run", str(path), *options)
    assert (code, err.count("\n")) == (2, 1)
    assert says in err


async def test_an_edge_in_python_is_printed_as_toml(path: Path) -> None:
    code, out, err = await finished("run", str(EXAMPLE), "--print-toml")
    assert (code, err) == (0, "")
    write(path, out)
    code, out, _ = await finished("check", str(path))
    assert code == 0
    assert "SessionGate(rate=200, burst=32, per='service')" in out


async def test_a_name_that_a_file_does_not_have_is_one_line(path: Path) -> None:
    write(path, edge("one", 1))
    code, _, err = await finished("check", f"{path}:two")
    assert (code, err) == (2, f"trioedge: {path} has no edge 'two': it has one\n")
