"""`trioedge run` as a child process: signals, exit codes, addresses, faults."""

import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.command_line import Running, running
from trioedge.cli import main

EDGE = """\
import trioedge as te
edge = te.Edge("tcp://127.0.0.1:{port}", [], te.Forward("tcp://127.0.0.1:{upstream}"))
"""


BROKEN = """\
import trioedge as te
class Broken:
    def decide(self, session): return te.CONTINUE
    async def run(self, *, task_status): raise RuntimeError("no work today")
edge = te.Edge("tcp://127.0.0.1:0", [Broken()], te.Forward("tcp://127.0.0.1:1"))
"""


def write(port: int = 0, upstream: int = 1, *, text: str = EDGE) -> str:
    Path("x.py").write_text(text.format(port=port, upstream=upstream))
    return "x.py"


async def port_of(command: Running) -> int:
    event = json.loads(await command.says("listening"))
    return int(event["addresses"][0].rpartition(":")[2])


@asynccontextmanager
async def with_a_session(*options: str) -> AsyncIterator[tuple[Running, trio.SocketStream, trio.SocketStream]]:
    """Run an edge with one live session; give the command, the client and the upstream."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    target = write(upstream=listener.socket.getsockname()[1])
    async with listener, running("run", target, "--log-format", "json", *options) as command:
        client = await trio.open_tcp_stream("127.0.0.1", await port_of(command))
        async with client, await listener.accept() as upstream:
            await client.send_all(b"ping")
            assert await upstream.receive_some() == b"ping"
            yield command, client, upstream


async def test_a_signal_drains_the_edge() -> None:
    async with running("run", write()) as command:
        assert "addresses=['tcp://127.0.0.1:" in await command.says("listening")
        command.signal(signal.SIGTERM)
        assert await command.ends() == te.ExitCode.DRAINED
        assert "Traceback" not in command.stderr


async def test_a_drain_waits_for_the_sessions() -> None:
    async with with_a_session() as (command, client, upstream):
        command.signal(signal.SIGTERM)
        await command.says("draining")
        await client.send_all(b"more")
        assert await upstream.receive_some() == b"more"
        await client.aclose()
        await upstream.aclose()
        assert await command.ends() == te.ExitCode.DRAINED
    assert json.loads(command.stderr.splitlines()[-1])["event"] == "stopped"


async def test_a_second_signal_cuts_the_sessions() -> None:
    async with with_a_session() as (command, client, _):
        command.signal(signal.SIGTERM)
        await command.says("draining")
        command.signal(signal.SIGTERM)
        assert await command.ends() == te.ExitCode.CUT
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


async def test_the_drain_deadline_cuts_the_sessions() -> None:
    async with with_a_session("--drain-seconds", "0") as (command, _, _):
        command.signal(signal.SIGINT)
        assert json.loads(await command.says("draining"))["seconds"] == 0
        assert await command.ends() == te.ExitCode.CUT


async def test_the_option_listen_replaces_the_addresses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        target = write(port=taken.getsockname()[1])
        first, second = "tcp://127.0.0.1:0", f"unix://{Path.cwd()}/x.sock"
        options = ("--listen", first, "--listen", second, "--log-format", "json")
        async with running("run", target, *options) as command:
            addresses = json.loads(await command.says("listening"))["addresses"]
            assert len(addresses) == 2
            assert addresses[1] == second
            command.signal(signal.SIGTERM)
            assert await command.ends() == te.ExitCode.DRAINED


@pytest.mark.parametrize(("options", "begin"), [([], '{"time": "'), (["--access-log-format", "text"], "time=")])
async def test_the_option_access_log_writes_a_line_for_each_session(options: list[str], begin: str) -> None:
    async with with_a_session("--access-log", "access.log", *options) as (command, client, upstream):
        await client.aclose()
        await upstream.aclose()
        command.signal(signal.SIGTERM)
        assert await command.ends() == te.ExitCode.DRAINED
    (line,) = (await trio.Path("access.log").read_text()).splitlines()
    assert line.startswith(begin)


@pytest.mark.parametrize("option", [["--access-log", "-"], ["--access-log=-"]])
async def test_the_access_log_minus_is_stdout(option: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    async with with_a_session(*option, "--access-log-format", "text") as (command, client, upstream):
        await client.aclose()
        await upstream.aclose()
        command.signal(signal.SIGTERM)
        assert await command.ends() == te.ExitCode.DRAINED
    assert capfd.readouterr().out.startswith("time=")
    assert not await trio.Path("-").exists()


async def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with running("run", write(port=port)) as command:
            assert await command.ends() == te.ExitCode.LISTEN
        assert command.stderr.startswith(f"trioedge: cannot listen on tcp://127.0.0.1:{port}: in use")
        assert command.stderr.count("\n") == 1


async def test_a_bad_target_is_one_line() -> None:
    async with running("run", "examples/x.py") as command:
        assert await command.ends() == te.ExitCode.CONFIGURATION
    assert command.stderr == "trioedge: examples/x.py: no such file\n"


async def test_an_unexpected_fault_is_logged_and_exit_code_1() -> None:
    write(text=BROKEN)
    async with running("run", "x.py", "--log-format", "json") as command:
        assert await command.ends() == te.ExitCode.FAULT
    event = json.loads(command.stderr.splitlines()[-1])
    assert (event["event"], event["level"]) == ("edge failed", "critical")
    assert "no work today" in str(event["exception"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--listen", "127.0.0.1:80"], "address '127.0.0.1:80' must begin with tcp:// or unix://"),
        (["--listen", "tcp://127.0.0.1"], "address 'tcp://127.0.0.1' names no port"),
        (["--drain-seconds", "-1"], "--drain-seconds -1 must be at least 0"),
        (["--drain-seconds", "nan"], "--drain-seconds nan must be at least 0"),
        (["--access-log", ""], "AccessLog('') must be the path of a file, '-', 'stderr' or a stream"),
        (["--access-log", "/nowhere/x.log"], "access log /nowhere/x.log cannot be opened: No such file or directory"),
        (["--access-log-format", "text"], "--access-log-format needs --access-log"),
        (["--access-log", "--log-level=info"], "--access-log needs a path, and --log-level=info is an option"),
        (["--access-log", "-x"], "--access-log needs a path, and -x is an option: write ./-x"),
    ],
)
def test_wrong_options_start_nothing(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", write(), *options]) == te.ExitCode.CONFIGURATION
    error = capsys.readouterr().err
    assert error.startswith(f"trioedge: {message}")
    assert error.count("\n") == 1
