"""Every command of a serving edge, against an edge that serves: what the API gives is what the commands read."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import pytest
import trio

import trioedge as te
from tests.support.logging_state import logging_restored
from trioedge.cli import main
from trioedge.process import logs

SERVICES = """\
[services.shop]
session_rate = 1000
device_limit = 2
down_rate = "10 MB/s"
quota_bytes = "1 GB"
expires_at = 2099-01-01T00:00:00Z
"""


@asynccontextmanager
async def serving(folder: Path, admin: "str | te.Admin") -> AsyncIterator[te.Edge]:
    """Serve an edge with two live sessions and a refused one, until the block ends."""
    (folder / "services.toml").write_text(SERVICES)
    async with trio.open_nursery() as nursery:
        upstream = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = upstream[0].socket.getsockname()[1]
        stages = [
            te.Identify("shop"),
            te.SourceMatch(reject=["127.0.0.9"]),
            te.SessionGate(),
            te.DeviceLimit(),
            te.Pacing(),
        ]
        edge = te.Edge(
            "tcp://127.0.0.1:0", stages, te.Forward(f"tcp://127.0.0.1:{port}"),
            control=te.FileControl(folder / "services.toml"), admin=admin, name="lab",
        )  # fmt: skip
        await nursery.start(edge.serve)
        clients = [await connected(edge, source) for source in ("127.0.0.1", "127.0.0.1", "127.0.0.9")]
        while len(edge.sessions) < 2 or not edge.statistics().refused:
            await trio.sleep(0.01)
        try:
            yield edge
        finally:
            for each in (*clients, *upstream):
                await each.aclose()
            nursery.cancel_scope.cancel()


@pytest.fixture
def _no_log() -> Iterator[None]:
    with logging_restored():
        logs.configure(level="error")
        yield


Run: TypeAlias = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def finished(capsys: pytest.CaptureFixture[str], _no_log: None) -> Run:
    """Run a command in a thread, because it has a loop of its own; give its exit code, stdout and stderr."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        code = await trio.to_thread.run_sync(main, arguments)
        return code, *capsys.readouterr()

    return run


async def connected(edge: te.Edge, source: str) -> trio.SocketStream:
    sock = trio.socket.socket()
    await sock.bind((source, 0))
    with suppress(ConnectionResetError):  # of the client that is refused
        await sock.connect(("127.0.0.1", int(edge.addresses[0].rpartition(":")[2])))
    return trio.SocketStream(sock)


COMMANDS = [
    (["state"], "ready: serving"),
    (["state", "--check"], "ready: serving"),
    (["statistics"], "source 1"),
    (["top", "--once"], "127.0.0.1 "),
    (["sessions"], "shop "),
    (["sessions", "--source", "127.0.0.0/24", "--service", "shop"], "127.0.0.1"),
    (["sessions", "--by", "device"], "shop "),
    (["services"], "shop "),
    (["services", "shop"], "127.0.0.1"),
    (["services", "sh"], "1.0 GB"),
    (["explain", "1"], "SessionGate"),
    (["explain", "--source", "127.0.0.9"], "SourceMatch"),
    (["stages"], "DeviceLimit"),
    (["log-level"], "error"),
    (["drain", "--show"], "serving: 2 sessions live (shop 2)"),
    (["plan", "services.toml"], "changes nothing"),
    (["evict", "--session", "1"], "cut session 1"),
]


async def test_every_command_reads_what_an_edge_answers(tmp_path: Path, finished: Run) -> None:
    where = ["--edge", f"unix://{tmp_path}/edge.sock"]
    async with serving(tmp_path, where[1]):
        for arguments, found in COMMANDS:
            paths = [str(tmp_path / each) if each.endswith(".toml") else each for each in arguments]
            code, out, error = await finished(*paths, *where)
            assert (code, found in out) == (0, True), (arguments, out, error)
        for arguments, _ in COMMANDS:
            if arguments[0] not in ("evict", "plan"):
                code, out, error = await finished(*arguments, *where, "--json")
                assert code == (1 if arguments == ["explain", "999"] else 0), (arguments, error)
                json.loads(out)
        assert (await finished("explain", "999", *where))[0] == 1
        code, out, _ = await finished("evict", "--service", "shop", *where)
        assert (code, out) == (0, "cut 1 session of service shop\n")


async def test_an_edge_on_a_network_wants_its_token(tmp_path: Path, finished: Run) -> None:
    (tmp_path / "token").write_text("right\n")
    (tmp_path / "wrong").write_text("wrong\n")
    with trio.socket.socket() as free:
        await free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    async with serving(tmp_path, te.Admin(address, token=te.Secret(file=tmp_path / "token"))):
        for name, code in (("right", 0), ("wrong", 1)):
            file = tmp_path / ("token" if name == "right" else "wrong")
            assert (await finished("sessions", "--edge", address, "--token-file", str(file)))[0] == code
        assert (await finished("state", "--check", "--edge", address))[0] == 0, "readiness needs no token"
        _, _, error = await finished("sessions", "--edge", address)
        assert error == f"trioedge: {address} wants its token: give it with --token-file FILE or TRIOEDGE_TOKEN\n"


async def test_a_drain_is_watched_to_its_end(tmp_path: Path, finished: Run) -> None:
    where = ["--edge", f"unix://{tmp_path}/edge.sock"]
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://127.0.0.1:1"), admin=where[1])
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        code, out, _ = await finished("drain", "--wait", "--seconds", "5", *where)
    assert code == 0
    assert out.splitlines() == ["draining: 0 sessions left, cut in 5.0 s", "the edge has ended"]


@pytest.mark.parametrize("command", ["state", "top"])
async def test_an_edge_that_has_ended_is_code_3(command: str, tmp_path: Path, finished: Run) -> None:
    assert (await finished(command, "--edge", f"unix://{tmp_path}/edge.sock"))[0] == 3
