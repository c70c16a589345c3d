"""Real edges, started as systemd starts them: sockets from descriptor 3 on, and a socket that is told how they are."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.passed_sockets import start
from tests.support.programs import need
from tests.support.service_manager import Manager, manager
from tests.support.wires import connect, receive_exactly, server

CLIENTS = 4


@asynccontextmanager
async def unit(
    target: Path, sockets: Mapping[str, socket.socket], told: Manager, **environment: str
) -> AsyncIterator[trio.Process]:
    """Run an edge as a unit with `Type=notify`, and wait until it is ready."""
    environment |= {"NOTIFY_SOCKET": told.path}
    process = await start(["run", str(target)], list(sockets.items()), environment)
    try:
        assert (await told.hears("READY=1"))["MAINPID"] == str(process.pid)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def edge_of(tmp_path: Path, port: int, *, more: str = "") -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(
        f'[edge.redis]\nlisten = "systemd:redis"\ndrain_seconds = 5\n{more}'
        f'endpoint = {{ use = "forward", to = "tcp://127.0.0.1:{port}" }}\n'
    )
    return path


async def ask(port: int) -> None:
    async with await connect(port) as client:
        await client.send_all(b"ping")
        assert await receive_exactly(client, 4) == b"ping"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restart_with_the_socket_kept_refuses_no_client(number: signal.Signals, tmp_path: Path) -> None:
    done = 0

    async def clients() -> None:
        nonlocal done
        while True:
            await ask(port)
            done += 1

    with trio.fail_after(30), manager(tmp_path) as told, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with server() as upstream, trio.open_nursery() as nursery:
            target = edge_of(tmp_path, upstream)
            if number == signal.SIGTERM:
                for _ in range(CLIENTS):
                    nursery.start_soon(clients)
            for _ in range(3):
                async with unit(target, {"redis": listener}, told) as process:
                    await ask(port)
                    process.send_signal(number)
                    if number == signal.SIGTERM:
                        assert (await told.hears("STOPPING=1"))["STATUS"].startswith("draining, ")
                        assert await process.wait() == te.ExitCode.DRAINED
                nursery.start_soon(ask, port)  # while none runs: it waits in the backlog
            async with unit(target, {"redis": listener}, told):
                await ask(port)
                nursery.cancel_scope.cancel()
    assert done or number == signal.SIGKILL


async def test_a_unit_that_reloads_says_so_and_is_ready_again(tmp_path: Path) -> None:
    with trio.fail_after(30), manager(tmp_path) as told, socket.create_server(("127.0.0.1", 0)) as listener:
        async with unit(edge_of(tmp_path, 1), {"redis": listener}, told, WATCHDOG_USEC="900000") as process:
            process.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC" in await told.hears("RELOADING=1")
            again = await told.hears("READY=1")
            assert (again["STATUS"], again["WATCHDOG"]) == ("serving, 0 sessions live", "1")


async def test_a_loop_that_a_stage_blocks_feeds_no_watchdog(tmp_path: Path) -> None:
    blocked, go = tmp_path / "blocked", tmp_path / "go"
    os.mkfifo(blocked)
    os.mkfifo(go)
    (tmp_path / "edge.py").write_text(
        "from pathlib import Path\nimport trioedge as te\n"
        "@te.decision\ndef slow(session: te.Session) -> te.Verdict:\n"
        f"    Path({str(blocked)!r}).write_text('now')\n    Path({str(go)!r}).read_text()\n    return te.CONTINUE\n"
        "edge = te.Edge('systemd:redis', [slow], te.Forward('tcp://127.0.0.1:1', connect_seconds=0.1))\n"
    )
    with trio.fail_after(30), manager(tmp_path) as told, socket.create_server(("127.0.0.1", 0)) as listener:
        async with unit(tmp_path / "edge.py", {"redis": listener}, told, WATCHDOG_USEC="150000"):
            await told.hears("WATCHDOG=1")
            async with await connect(listener.getsockname()[1]):
                assert await trio.Path(blocked).read_text() == "now"
                told.rest()  # what was said before the loop was blocked
                with trio.move_on_after(0.2) as silence:
                    await told.hears("WATCHDOG=1")
                assert silence.cancelled_caught
                await trio.Path(go).write_text("go on")
                await told.hears("WATCHDOG=1")


async def test_edges_of_one_process_listen_each_on_the_sockets_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    with trio.fail_after(30), manager(tmp_path) as told:
        names = ("one", "two", "two", "none")
        sockets = [(name, socket.create_server(("127.0.0.1", 0))) for name in names]
        async with server() as upstream:
            path.write_text(
                "".join(
                    f'[edge.{name}]\nlisten = ["systemd:{name}", "tcp://127.0.0.1:0"]\n'
                    f'endpoint = {{ use = "forward", to = "tcp://127.0.0.1:{upstream}" }}\n'
                    for name in ("one", "two")
                )
            )
            process = await start(["run", str(path)], sockets, {"NOTIFY_SOCKET": told.path})
            await told.hears("READY=1")
            for name, sock in sockets:
                if name != "none":
                    await ask(sock.getsockname()[1])
            process.terminate()
            assert await process.wait() == te.ExitCode.DRAINED
        for _, sock in sockets:
            sock.close()


@pytest.mark.parametrize(("other", "ready"), [("systemd:gone", False), ("systemd:redis", True)])
async def test_a_process_is_ready_if_one_of_its_edges_serves_and_not_if_none_does(
    other: str, ready: bool, tmp_path: Path
) -> None:
    path = tmp_path / "edge.toml"
    endpoint = 'endpoint = { use = "forward", to = "tcp://127.0.0.1:1" }'
    listens = {"a": "systemd:none", "b": other}
    path.write_text("".join(f'[edge.{name}]\nlisten = "{at}"\n{endpoint}\n' for name, at in listens.items()))
    with trio.fail_after(30), manager(tmp_path) as told, socket.create_server(("127.0.0.1", 0)) as listener:
        process = await start(["run", str(path)], [("redis", listener)], {"NOTIFY_SOCKET": told.path})
        if ready:
            await told.hears("READY=1")
            process.terminate()
            assert await process.wait() == te.ExitCode.FAULT  # because one has failed
        else:
            assert await process.wait() == te.ExitCode.LISTEN
            assert not any("READY=1" in said for said in told.rest())


async def test_a_socket_without_an_edge_is_a_warning_and_a_missing_one_ends_the_process(
    tmp_path: Path,
) -> None:
    with trio.fail_after(30), socket.create_server(("127.0.0.1", 0)) as listener:
        options = ["run", str(edge_of(tmp_path, 1)), "--log-format", "json"]
        with (tmp_path / "log").open("w+") as log:
            process = await start(options, [("web", listener)], {}, stderr=log)
            assert await process.wait() == te.ExitCode.LISTEN
            log.seek(0)
            first, second = log.read().splitlines()
        assert json.loads(first)["event"] == "systemd passed sockets, and no edge listens on them"
        assert json.loads(first)["names"] == ["web"]
        assert second == (
            "trioedge: cannot listen on systemd:redis: systemd passed none of this name, but web: "
            "see FileDescriptorName="
        )


@pytest.mark.peer("systemd-socket-activate")
async def test_systemd_s_own_program_for_trying_units_out_starts_an_edge(tmp_path: Path) -> None:
    need("systemd-socket-activate")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with server() as upstream:
        process = await trio.lowlevel.open_process(
            ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=redis",
             sys.executable, "-m", "trioedge", "run", str(edge_of(tmp_path, upstream))],
            stderr=subprocess.PIPE,
        )  # fmt: skip
        with trio.fail_after(30):
            assert process.stderr is not None
            assert await process.stderr.receive_some()  # it listens
            await ask(port)
            process.terminate()
            assert await process.wait() == te.ExitCode.DRAINED
            await process.stderr.aclose()
