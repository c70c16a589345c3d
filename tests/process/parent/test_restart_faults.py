"""Restarts that meet faults: trials that hang, versions that are never ready, addresses that come and go."""

import signal
import socket
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.command_line import running
from tests.support.families import WHO, Client, Family, family, lives, restart, write
from tests.support.ports import free_ports

pytestmark = pytest.mark.usefixtures("in_a_folder")

HANGING_TRIAL = (
    'import os, time\nif "TRIOEDGE_TRIAL" in os.environ:\n    print("hangs", flush=True)\n    time.sleep(60)\n'
)
UNREADY = WHO.replace(
    "edge = te.Edge(",
    """
class Never:
    async def run(self, link, *, task_status):
        import trio
        await trio.sleep_forever()

edge = te.Edge(""",
).replace("drain_seconds", "control=Never(), drain_seconds")
"""The same program with a control plane that never has services."""


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def refused(port: int) -> bool:
    """Whether nothing listens on a port."""
    try:
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
    except OSError:
        return True
    return False


async def test_a_stop_amid_a_trial_that_hangs_ends_the_trial_too() -> None:
    async with family(WHO) as edge:
        write(HANGING_TRIAL + WHO)
        edge.command.signal(signal.SIGUSR2)
        trial = (await edge.until(4))[-1]
        edge.command.signal(signal.SIGUSR2)
        await edge.command.says("a restart is under way already")
        edge.command.signal(signal.SIGTERM)
        assert await edge.command.ends() == te.ExitCode.DRAINED
        while lives(trial):
            await trio.sleep(0.01)


async def test_a_version_that_is_never_ready_leaves_the_old_one_serving_and_the_next_restart_succeeds() -> None:
    async with family(WHO) as edge:
        both = await edge.clients_of_both()
        write(UNREADY)
        edge.command.signal(signal.SIGUSR2)
        unready = (await edge.until(6))[3:]
        assert [await client.lives() for client in both] == [True, True]
        assert (await edge.connect()).pid in {client.pid for client in both}
        write(WHO)
        await restart(edge)
        with trio.fail_after(5):
            while (await edge.connect()).pid in {client.pid for client in both}:
                pass  # an old worker accepts until it has read the order to drain
        for client in edge.clients:
            await client.stream.aclose()
        await edge.until(3)
        assert not any(map(lives, unready))


async def test_an_edge_that_waits_for_its_services_ends_at_once_when_it_is_told_to() -> None:
    write(UNREADY)
    async with running("run", "x.py", "--workers", "2", "--log-format", "json") as command:
        await Family(command).until(3)
        await trio.sleep(0.5)
        command.signal(signal.SIGTERM)
        with trio.fail_after(4):
            assert await command.ends() == te.ExitCode.DRAINED
        assert "killed" not in command.stderr


async def test_an_address_that_the_new_version_does_not_have_is_refused_once_it_serves() -> None:
    (free_tcp_port,) = free_ports(1)
    both = WHO.replace('"tcp://127.0.0.1:0"', f'["tcp://127.0.0.1:0", "tcp://127.0.0.1:{free_tcp_port}"]')
    async with family(both) as edge:
        assert not await refused(free_tcp_port)
        write(WHO)
        await restart(edge)
        await edge.until(3)
        assert await refused(free_tcp_port)
        assert not await refused(edge.port)


async def test_a_new_address_that_is_in_use_leaves_the_old_version_serving() -> None:
    async with family(WHO) as edge:
        with socket.create_server(("127.0.0.1", 0)) as other:
            write(
                WHO.replace('"tcp://127.0.0.1:0"', f'["tcp://127.0.0.1:0", "tcp://127.0.0.1:{other.getsockname()[1]}"]')
            )
            edge.command.signal(signal.SIGUSR2)
            await edge.command.says("restart refused: the old version goes on")
            assert "in use by another process" in edge.command.stderr
            assert "exit code 3" in edge.command.stderr
        edge.command.signal(signal.SIGUSR2)  # it is free now
        await edge.command.says('"restarted"')


async def test_one_worker_cannot_succeed_several() -> None:
    toml = (
        '[process]\nworkers = {}\nlog_format = "json"\n[edge.x]\nlisten = "tcp://127.0.0.1:0"\n'
        'endpoint = {{ use = "forward", to = "tcp://127.0.0.1:1" }}\n'
    )
    write(toml.format(2), "x.toml")
    async with running("run", "x.toml") as command:
        await command.says('"listening"', times=2)
        write(toml.format(1), "x.toml")
        command.signal(signal.SIGUSR2)
        await command.says("restart refused: the old version goes on")
        assert "workers=1 cannot succeed several workers in place" in command.stderr
        assert len(Family(command).children()) == 3


async def test_restarts_while_the_old_workers_drain_go_on_until_the_places_are_used_up() -> None:
    async with family(WHO) as edge:
        clients: list[tuple[Client, Client]] = []
        for times in (1, 2, 3):
            old = {client.pid for both in clients for client in both}
            clients.append(await edge.clients_of_both(besides=old))
            edge.command.signal(signal.SIGUSR2)
            if times < 3:
                await edge.command.says('"restarted"', times=times)
        await edge.command.says("no place for one more process")
        assert [await client.lives() for both in clients for client in both] == [True] * 6
        assert await (await edge.connect()).lives(), "an old worker serves it, or the new one that has a place"
        for client in clients[0]:
            await client.stream.aclose()
        await edge.command.says('"restarted"', times=3)


async def test_a_session_that_is_cut_behind_a_restart_does_not_change_the_exit_code_of_a_later_stop() -> None:
    async with family(WHO.replace("drain_seconds=60", "drain_seconds=0")) as edge:
        both = await edge.clients_of_both()
        await restart(edge)
        await edge.until(3)
        assert [await client.lives() for client in both] == [False, False]
        edge.command.signal(signal.SIGTERM)
        assert await edge.command.ends() == te.ExitCode.DRAINED
