"""An edge of two workers as its operator has it: admin API, service listeners, sockets of systemd."""

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

import trioedge as te
from tests.support.command_line import running
from tests.support.families import Family, restart, write
from tests.support.passed_sockets import start
from tests.support.ports import free_ports
from tests.support.service_manager import manager
from tests.support.wires import server

pytestmark = pytest.mark.usefixtures("_in_a_folder")

PROCESS = '[process]\nworkers = 2\nlog_format = "json"\n'


@pytest.fixture
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADMIN_TOKEN", "t" * 32)


def edge_of(name: str, upstream: int, more: str = "") -> str:
    return (
        f'[edge.{name}]\nlisten = "unix://{Path.cwd()}/{name}.sock"\ndrain_seconds = 30\n{more}'
        f'endpoint = {{ use = "forward", to = "tcp://127.0.0.1:{upstream}" }}\n'
    )


class Api:
    """The admin API of an edge; a connection for each call, which waits while no control process answers."""

    def __init__(self, address: str) -> None:
        self._path = address.removeprefix("unix://") if address.startswith("unix://") else None
        self._url = "http://edge" if self._path else address.replace("tcp://", "http://")

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        transport = httpx.AsyncHTTPTransport(uds=self._path)
        headers = {"authorization": f"Bearer {os.environ['ADMIN_TOKEN']}"}
        async with httpx.AsyncClient(transport=transport, base_url=self._url, headers=headers, timeout=10) as client:
            answer = await client.request(method, path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def workers_of(self, generation: int) -> None:
        """Wait until both workers of a generation, and no others, answer."""
        while True:
            workers = (await self.call("GET", "/v1/statistics"))["workers"]
            if [(each["number"], each["generation"]) for each in workers] == [(0, generation), (1, generation)]:
                return
            await trio.sleep(0.05)


async def alive(stream: trio.abc.Stream) -> bool:
    try:
        await stream.send_all(b"ping")
        return bool(await stream.receive_some(4) == b"ping")
    except trio.BrokenResourceError:
        return False


@pytest.mark.parametrize("over", ["unix", "tcp"])
async def test_the_admin_api_answers_over_a_restart_and_the_death_of_its_process_and_sets_the_level(over: str) -> None:
    (port,) = free_ports(1)
    address = f"unix://{Path.cwd()}/admin.sock" if over == "unix" else f"tcp://127.0.0.1:{port}"
    token = "" if over == "unix" else ', token = { env = "ADMIN_TOKEN" }'
    async with server() as upstream:
        write(PROCESS + edge_of("a", upstream, f'admin = {{ listen = "{address}"{token} }}\n'), "x.toml")
        async with running("run", "x.toml") as command:
            await command.says('"listening"', times=2)
            api, edge = Api(address), Family(command)
            await api.workers_of(0)
            edge.kill(edge.children()[0])
            await api.workers_of(0)
            await restart(edge)
            await api.workers_of(1)
            await api.call("PUT", "/v1/log-level", {"level": "error"})
            assert (await api.call("GET", "/v1/log-level")) == {"level": "error"}
            edge.kill(edge.children()[-1])
            await command.says('"child died, and is replaced"', times=2)
            await trio.sleep(1)
            assert command.stderr.count('"listening"') == 4, "a successor logs by the level of its parent"


async def test_a_drain_of_one_of_two_edges_ends_it_for_good_and_the_drain_of_the_other_the_program() -> None:
    async with server() as upstream:
        admins = {name: f"unix://{Path.cwd()}/{name}-admin.sock" for name in "ab"}
        write(PROCESS + "".join(edge_of(name, upstream, f'admin = "{admins[name]}"\n') for name in "ab"), "x.toml")
        async with running("run", "x.toml") as command:
            await command.says('"listening"', times=4)
            edge, apis = Family(command), {name: Api(admins[name]) for name in "ab"}
            open_at_a, open_at_b = [await trio.open_unix_socket(f"{name}.sock") for name in "ab"]
            assert await alive(open_at_a)
            assert await alive(open_at_b)
            await apis["a"].call("POST", "/v1/drain", {"seconds": 20})
            await command.says('"draining"', times=2)
            assert not await trio.Path("a.sock").exists()
            assert await alive(open_at_a)
            edge.kill(edge.children()[-1])
            await command.says('"listening"', times=5)
            await trio.sleep(0.3)
            lines = [json.loads(line) for line in command.stderr.splitlines()]
            later = [line["addresses"] for line in lines if line["event"] == "listening"][4:]
            assert later == [[f"unix://{Path.cwd()}/b.sock"]]
            await open_at_a.aclose()
            async with await trio.open_unix_socket("b.sock") as new:
                assert await alive(new)
            await open_at_b.aclose()
            await apis["b"].call("POST", "/v1/drain", {"seconds": 5})
            assert await command.ends() in (te.ExitCode.DRAINED, te.ExitCode.CUT)


async def test_the_listener_of_a_service_refuses_no_client_over_the_death_of_its_worker_and_a_restart() -> None:
    (port,) = free_ports(1)
    async with server() as upstream:
        write(f'[services.shop]\nlisten = ["tcp://127.0.0.1:{port}"]\n', "services.toml")
        write(
            PROCESS + edge_of("a", upstream, 'control = { use = "file", path = "services.toml" }\n'
                              f'open_ports = "tcp://127.0.0.1:{port}-{port}"\n'), "x.toml",
        )  # fmt: skip
        async with running("run", "x.toml", patience=40) as command:
            await command.says('"listening"', times=2)
            edge, done, count = Family(command), trio.Event(), 0

            async def go_on() -> None:
                nonlocal count
                while not done.is_set():
                    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                        count += await alive(stream)
                    await trio.sleep(0.01)

            async def some() -> None:
                goal = count + 5
                while count < goal:
                    await trio.sleep(0.01)

            while not done.is_set():  # until it listens
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.02)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(go_on)
                await some()
                for times in (1, 2):
                    edge.kill(edge.children()[1])
                    await command.says('"child died, and is replaced"', times=times)
                    await some()
                await restart(edge)
                await edge.until(3)
                await some()
                done.set()


async def test_the_state_counts_the_listeners_of_services_over_all_workers_and_says_which_is_not_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, busy = *free_ports(1), taken.getsockname()[1]
        listeners = {"shop": port, "cafe": busy}
        services = "".join(f'[services.{n}]\nlisten = ["tcp://127.0.0.1:{p}"]\n' for n, p in listeners.items())
        write(services, "services.toml")
        admin = f"unix://{Path.cwd()}/admin.sock"
        write(
            PROCESS + edge_of("a", 1, 'control = { use = "file", path = "services.toml" }\n'
                              f'open_ports = "tcp://127.0.0.1:1024-65535"\nadmin = "{admin}"\n'), "x.toml",
        )  # fmt: skip
        async with running("run", "x.toml") as command:
            await command.says('"listening"', times=2)
            api = Api(admin)

            async def state(listeners: int, errors: list[str]) -> None:
                while True:
                    found = await api.call("GET", "/v1/state")
                    if found["listeners"] == listeners and len(found["listen_errors"]) == len(errors):
                        assert all(says in error for says, error in zip(errors, found["listen_errors"], strict=True))
                        return
                    await trio.sleep(0.05)

            await state(1, [f"tcp://127.0.0.1:{busy}: in use"])
            write(services.partition("[services.cafe]")[0], "services.toml")
            await state(1, [])
            write(services.replace(str(busy), str(free_ports(1)[0])), "services.toml")
            await state(2, [])


async def test_sockets_of_systemd_stay_over_a_restart_with_workers(tmp_path: Path) -> None:
    toml = PROCESS + edge_of("a", 1).replace(f"unix://{tmp_path}/a.sock", "systemd:web")
    with trio.fail_after(40), manager(tmp_path) as told, socket.create_server(("127.0.0.1", 0)) as listener:
        async with server() as upstream:
            write(toml.replace(':1"', f':{upstream}"'), "x.toml")
            process = await start(["run", "x.toml"], [("web", listener)], {"NOTIFY_SOCKET": told.path})
            try:
                await told.hears("READY=1")
                async with await trio.open_tcp_stream(*listener.getsockname()) as old:
                    assert await alive(old)
                    process.send_signal(signal.SIGUSR2)
                    while (await told.hears("STATUS="))["STATUS"] != "serving by 2 of 2 workers, 1 session lives":
                        pass
                    async with await trio.open_tcp_stream(*listener.getsockname()) as new:
                        assert await alive(new)
                    assert await alive(old)
                process.terminate()
                assert await process.wait() == te.ExitCode.DRAINED
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
