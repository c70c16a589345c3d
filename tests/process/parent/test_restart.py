"""Restarts in place of real programs."""

import os
import signal
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.command_line import running
from tests.support.families import WHO, Client, Family, family, lives, restart, write

pytestmark = pytest.mark.usefixtures("in_a_folder")


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_a_restart_refuses_no_client_and_the_old_sessions_live_on_in_the_same_process() -> None:
    async with family(WHO) as edge:
        before = await edge.clients_of_both()
        pid, children, done, seen = edge.command.pid, edge.children(), trio.Event(), list[Client]()

        async def connect_without_pause(source: str) -> None:
            while not done.is_set():
                client = await edge.connect(source)
                assert await client.lives()
                await client.stream.aclose()
                seen.append(client)

        async with trio.open_nursery() as nursery:
            for number in range(1, 9):
                nursery.start_soon(connect_without_pause, f"127.0.1.{number}")
            for times in (1, 2, 3):
                await restart(edge, times)
                count = len(seen)
                while len(seen) < count + 40:
                    await trio.sleep(0.01)
            done.set()
        assert [await client.lives() for client in before] == [True, True]
        assert edge.command.pid == pid
        assert len({client.pid for client in seen}) >= 4
        for client in before:
            await client.stream.aclose()
        assert not {*await edge.until(3)} & {*children}


async def test_a_version_that_does_not_compose_leaves_the_old_one_serving() -> None:
    async with family(WHO) as edge:
        both = await edge.clients_of_both()
        write(WHO.replace("edge = te.Edge(", "edge = te.Edges("))
        edge.command.signal(signal.SIGUSR2)
        await edge.command.says("restart refused: the old version goes on")
        assert "Edges" in edge.command.stderr
        assert [await client.lives() for client in both] == [True, True]
        assert (await edge.connect()).pid in {client.pid for client in both}


async def test_a_new_version_serves_with_what_it_has_changed() -> None:
    async with family(WHO) as edge:
        write(WHO.replace('f"{os.getpid()}\\n"', '"-7\\n"'))
        await restart(edge)
        while (await edge.connect()).pid != -7:  # the old workers accept until they have read their orders
            await trio.sleep(0.01)


async def test_another_number_of_workers_serves_after_a_restart() -> None:
    toml = (
        '[process]\nworkers = {}\nlog_format = "json"\n[edge.x]\nlisten = "tcp://127.0.0.1:0"\n'
        'endpoint = {{ use = "forward", to = "tcp://127.0.0.1:1" }}\n'
    )
    write(toml.format(2), "x.toml")
    async with running("run", "x.toml") as command:
        await command.says('"listening"', times=2)
        edge = Family(command)
        for times, workers in ((1, 4), (2, 3), (3, 2)):
            write(toml.format(workers), "x.toml")
            await restart(edge, times)
            await edge.until(workers + 1)


async def test_an_image_that_dies_at_once_has_the_workers_drain() -> None:
    async with family(WHO) as edge:
        both, children = await edge.clients_of_both(), edge.children()
        write('import os\nif "TRIOEDGE_ADOPT" in os.environ:\n    os._exit(9)\n' + WHO)
        edge.command.signal(signal.SIGUSR2)
        await edge.command.says("the parent is dead, so this worker drains", times=2)
        assert [await client.lives() for client in both] == [True, True]
        for client in both:
            await client.stream.aclose()
        assert await edge.command.ends() == 9
        assert not any(map(lives, children))


async def test_signals_amid_a_restart_end_the_edge_as_they_do_elsewhere() -> None:
    async with family(WHO) as edge:
        edge.command.signal(signal.SIGUSR2)
        await edge.command.says('"restarting"')
        edge.command.signal(signal.SIGTERM)
        assert await edge.command.ends() == te.ExitCode.DRAINED


async def test_restarts_leak_no_descriptor_and_old_processes_end() -> None:
    async with family(WHO) as edge:
        await restart(edge, 1)
        await edge.until(3)
        folder = f"/proc/{edge.command.pid}/fd"
        before = len(os.listdir(folder))
        for times in (2, 3, 4):
            await restart(edge, times)
            await edge.until(3)
        assert len(os.listdir(folder)) == before
