"""A parent and its children under real signals."""

import os
import signal
from pathlib import Path

import pytest
import trio

import trioedge as te
from tests.support.command_line import running
from tests.support.families import WHO, Family, family, lives, write

pytestmark = pytest.mark.usefixtures("in_a_folder")


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_every_connection_of_a_source_comes_to_one_worker_and_both_workers_have_sources() -> None:
    async with family(WHO) as edge:
        found: dict[int, set[int]] = {}
        for number in range(1, 25):
            for _ in range(3):
                client = await edge.connect(f"127.0.0.{number}")
                found.setdefault(number, set()).add(client.pid)
        assert all(len(pids) == 1 for pids in found.values())
        assert len(set.union(*found.values())) == 2


async def test_a_worker_that_is_killed_loses_its_own_sessions_and_its_successor_accepts() -> None:
    async with family(WHO) as edge:
        mine, other = await edge.clients_of_both()
        source = (mine.stream.socket.getsockname())[0]
        edge.kill(mine.pid)
        successor = await edge.connect(source)
        assert not await mine.lives()
        assert await other.lives()
        assert successor.pid != mine.pid
        line = await edge.command.says("child died, and is replaced")
        assert '"signal SIGKILL"' in line
        assert '"worker ' in line
        assert len(edge.children()) == 3


async def test_a_worker_that_is_killed_under_load_costs_its_own_sessions_alone() -> None:
    async with family(WHO) as edge:
        killed, strangers, served, done = set[int](), list[str](), 0, trio.Event()

        async def go_on(source: str) -> None:
            nonlocal served
            pid = 0  # of the worker that has the source
            while not done.is_set():
                try:
                    client = await edge.connect(source)
                    pid = client.pid
                    lives = await client.lives()
                    await client.stream.aclose()
                except OSError as error:  # refused
                    strangers.append(repr(error))
                    continue
                except (AssertionError, trio.BrokenResourceError):
                    lives = False
                if not lives and pid not in killed:
                    strangers.append(f"a session of worker {pid}")
                served += lives
                await trio.sleep(0.005)

        async with trio.open_nursery() as nursery:
            for number in range(1, 13):
                nursery.start_soon(go_on, f"127.0.2.{number}")
            for times in (1, 2, 3):
                worker = edge.children()[1]
                killed.add(worker)
                edge.kill(worker)
                await edge.command.says("child died, and is replaced", times=times)
                await edge.command.says('"listening"', times=2 + times)
                goal = served + 50
                while served < goal:
                    await trio.sleep(0.01)
            done.set()
        assert strangers == []


async def test_a_parent_that_is_stopped_holds_up_no_client() -> None:
    async with family(WHO) as edge:
        both = await edge.clients_of_both()
        edge.command.signal(signal.SIGSTOP)
        assert [await client.lives() for client in both] == [True, True]
        assert (await edge.connect()).pid in {client.pid for client in both}
        edge.command.signal(signal.SIGCONT)
        edge.command.signal(signal.SIGTERM)
        for client in edge.clients:
            await client.stream.aclose()
        assert await edge.command.ends() == te.ExitCode.DRAINED


async def test_connections_that_wait_for_a_dead_worker_are_accepted_by_its_successor() -> None:
    async with family(WHO, "--log-level", "debug") as edge:
        mine, _ = await edge.clients_of_both()
        source = mine.stream.socket.getsockname()[0]
        os.kill(mine.pid, signal.SIGSTOP)
        sock = trio.socket.socket()
        await sock.bind((source, 0))
        await sock.connect(("127.0.0.1", edge.port))  # into the backlog of the worker that is stopped
        edge.kill(mine.pid)
        async with trio.SocketStream(sock) as waiting:
            pid = int(await waiting.receive_some())
        assert pid != mine.pid
        assert pid in edge.children()


async def test_a_worker_that_is_silent_gets_no_client_and_then_is_replaced() -> None:
    write(
        '[process]\nworkers = 2\nstall_seconds = 0.5\nlog_format = "json"\n[edge.x]\n'
        'listen = "tcp://127.0.0.1:0"\nendpoint = { use = "forward", to = "tcp://127.0.0.1:1" }\n',
        "x.toml",
    )
    async with running("run", "x.toml") as command:
        await command.says('"listening"', times=2)
        edge = Family(command)
        *_, worker = edge.children()
        edge.kill(worker, signal.SIGSTOP)
        assert f'"pid": {worker}' in await command.says("event loop is blocked")
        await command.says("child is killed: its event loop is blocked")
        await command.says('"listening"', times=3)
        assert worker not in edge.children()
        assert len(edge.children()) == 3


async def test_a_worker_that_goes_on_in_time_lives_on_with_its_sessions() -> None:
    async with family(WHO) as edge:
        mine, _ = await edge.clients_of_both()
        edge.kill(mine.pid, signal.SIGSTOP)
        await trio.sleep(0.3)
        edge.kill(mine.pid, signal.SIGCONT)
        assert await mine.lives()


async def test_a_signal_to_one_worker_drains_it_and_it_is_replaced() -> None:
    async with family(WHO) as edge:
        mine, other = await edge.clients_of_both()
        for _ in range(3):  # more of them cut nothing
            edge.kill(mine.pid, signal.SIGTERM)
        assert await mine.lives()
        await mine.stream.aclose()
        await edge.command.says("child has drained by itself, and is replaced")
        assert await other.lives()
        await edge.until(3)


async def test_a_control_process_that_is_killed_is_replaced_and_sessions_live_on() -> None:
    async with family(WHO) as edge:
        both = await edge.clients_of_both()
        control = edge.children()[0]
        edge.kill(control)
        assert '"control process"' in await edge.command.says("child died, and is replaced")
        assert [await client.lives() for client in both] == [True, True]
        while control in edge.children() or len(edge.children()) < 3:
            await trio.sleep(0.02)


async def test_workers_whose_parent_is_killed_drain_and_end() -> None:
    async with family(WHO) as edge:
        both, children = await edge.clients_of_both(), edge.children()
        edge.command.signal(signal.SIGKILL)
        await edge.command.says("the parent is dead, so this worker drains", times=2)
        assert [await client.lives() for client in both] == [True, True]
        for client in both:
            await client.stream.aclose()
        await edge.command.ends()
        assert not any(map(lives, children))


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGTERM], te.ExitCode.DRAINED),
        ([signal.SIGTERM, signal.SIGINT], te.ExitCode.CUT),
        ([signal.SIGINT, signal.SIGTERM, signal.SIGTERM], te.ExitCode.KILLED),
    ],
    ids=["one drains", "two cut", "three end at once"],
)
async def test_signals_that_end_act_on_all_workers(signals: list[signal.Signals], code: te.ExitCode) -> None:
    async with family(WHO) as edge:
        both, children = await edge.clients_of_both(), edge.children()
        edge.command.signal(signals[0])
        await edge.command.says('"draining"', times=3)
        if len(signals) == 3:
            for child in children[1:]:
                os.kill(child, signal.SIGSTOP)  # so that a cut does not end them
        for number in signals[1:]:
            edge.command.signal(number)
            await trio.sleep(0.2)
        if len(signals) == 1:
            assert [await client.lives() for client in both] == [True, True]
            for client in both:
                await client.stream.aclose()
        assert await edge.command.ends() == code
        assert not any(map(lives, children))


async def test_a_signal_to_every_process_at_once_as_a_service_manager_sends_it_drains() -> None:
    async with family(WHO) as edge:
        both, children = await edge.clients_of_both(), edge.children()
        for pid in (*children, edge.command.pid):
            os.kill(pid, signal.SIGTERM)
        await edge.command.says('"draining"', times=3)
        assert [await client.lives() for client in both] == [True, True]
        for client in both:
            await client.stream.aclose()
        assert await edge.command.ends() == te.ExitCode.DRAINED


async def test_a_parent_whose_worker_cannot_start_ends_with_its_code() -> None:
    program = WHO.replace("who, drain", 'te.Forward("tcp://127.0.0.1:1"), control=te.FileControl("none.toml"), drain')
    write(program)
    async with running("run", "x.py", "--workers", "2") as command:
        assert await command.ends() == te.ExitCode.CONFIGURATION
        assert "none.toml" in command.stderr
        assert "Traceback" not in command.stderr


async def test_an_address_in_use_is_one_line_and_no_child_is_forked() -> None:
    async with family(WHO) as edge:
        write(WHO.replace("127.0.0.1:0", f"127.0.0.1:{edge.port}"), "y.py")
        async with running("run", "y.py", "--workers", "2") as command:
            assert await command.ends() == te.ExitCode.LISTEN
            assert "in use by another process" in command.stderr


async def test_deaths_of_children_leak_no_descriptor() -> None:
    async with family(WHO) as edge:
        folder = f"/proc/{edge.command.pid}/fd"
        before = len(os.listdir(folder))
        for round_number in range(4):
            edge.kill(edge.children()[-1])
            await edge.command.says("child died, and is replaced", times=round_number + 1)
            await edge.command.says('"listening"', times=round_number + 3)
        edge.kill(edge.children()[0])
        await edge.until(3)
        assert len(os.listdir(folder)) == before
        assert len(os.listdir(f"/proc/{edge.command.pid}/task")) == 1, "the parent has a thread"
