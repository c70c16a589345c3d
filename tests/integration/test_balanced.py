"""Real servers behind a balanced destination: nginx that is killed and started again, Redis that hangs."""

import signal
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

import trioedge as te
from examples.balanced import ping
from tests.support.daemons import daemon
from tests.support.members import address
from tests.support.ports import closed_port
from tests.support.wires import connect, receive_exactly, serving

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{port}"; }} }}
}}
"""


def configured(folder: Path, port: int) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port))
    return file


def nginx(folder: Path, port: int) -> AbstractAsyncContextManager[trio.Process]:
    """Run an nginx that answers with its port; it may be killed."""
    return daemon("nginx", "-p", str(folder), "-c", str(configured(folder, port)), "-e", "stderr", port=port)


async def get(port: int) -> str:
    """Make one request of its own connection, and give the body of the answer."""
    async with await connect(port) as client:
        await client.send_all(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        async for data in client:
            answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), answer
        return body.decode()


@pytest.mark.peer("nginx")
@pytest.mark.parametrize("check", [None, "connect"])
@pytest.mark.parametrize("policy", ["round_robin", "least_sessions", "source_hash"])
async def test_a_server_that_is_killed_costs_no_request_and_gets_its_share_again(
    tmp_path: Path, policy: Any, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.upstreams.balancing.health.FIRST_PAUSE_SECONDS", 0.1)
    one, two = closed_port(), closed_port()
    balanced = te.Balanced(
        [address(one), address(two)], policy, slow_seconds=0, check=check, check_seconds=0.1, max_failures=2
    )
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(balanced, retries=0))
    async with nginx(tmp_path / "one", one), serving(edge) as port:
        async with nginx(tmp_path / "two", two) as killed:
            before = Counter([await get(port) for _ in range(20)])
            killed.kill()
        assert {await get(port) for _ in range(20)} == {str(one)}
        async with nginx(tmp_path / "two", two):
            after: Counter[str] = Counter()
            with trio.fail_after(10):
                while not after[str(two)] and before[str(two)]:
                    after[await get(port)] += 1
                    await trio.sleep(0.01)
            again = Counter([await get(port) for _ in range(20)])
        if policy == "source_hash":
            assert again == before
            assert len(again) == 1
        else:
            assert min(again[str(one)], again[str(two)]) >= 8
    assert edge.statistics().ended == {te.Reason.FINISHED: edge.statistics().accepted}


def redis(folder: Path, port: int) -> AbstractAsyncContextManager[trio.Process]:
    """Run a Redis of our own."""
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return daemon(*command, port=port)


@pytest.mark.peer("redis-server")
async def test_a_redis_that_hangs_is_found_by_its_check_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.upstreams.balancing.health.FIRST_PAUSE_SECONDS", 0.1)
    one, two = closed_port(), closed_port()
    balanced = te.Balanced(
        [address(one), address(two)], "round_robin", slow_seconds=0, check=ping, check_seconds=0.2, max_failures=2
    )
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(balanced))
    async with redis(tmp_path, one), redis(tmp_path, two) as hangs, serving(edge) as port:
        assert await pongs(port) == 4
        hangs.send_signal(signal.SIGSTOP)  # the kernel still accepts for it
        try:
            await state_of(edge, address(two), "ejected")
            with trio.fail_after(5):
                assert await pongs(port) == 4
            assert edge.statistics().members[1].failed == 0
        finally:
            hangs.send_signal(signal.SIGCONT)
        await state_of(edge, address(two), "well")
        before = edge.statistics().members[1].opened
        assert await pongs(port) == 4
        assert edge.statistics().members[1].opened == before + 2


async def pongs(port: int) -> int:
    """Ask four times whether a Redis is there, each time in a session of its own, and count the answers."""
    answers = 0
    for _ in range(4):
        async with await connect(port) as client:
            await client.send_all(b"PING\r\n")
            answers += await receive_exactly(client, 7) == b"+PONG\r\n"
    return answers


async def state_of(edge: te.Edge, member: str, state: str) -> None:
    """Wait until a member is in a state."""
    with trio.fail_after(10):
        while {each.address: each.state for each in edge.statistics().members}[member] != state:
            await trio.sleep(0.01)
