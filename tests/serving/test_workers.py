"""Runtime tests of workers: of parts that are slow to start, and of an admin socket that fails."""

import errno
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.wires import connect, edge_to, receive_exactly, server, serving
from trioedge.endpoints.asgi import own_server
from trioedge.serving.workers import SLOW_START_SECONDS
from trioedge.testing import open_edge


@attrs.define(eq=False)
class Slow:
    """A decision whose worker takes some seconds to start."""

    seconds: float

    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(self.seconds)
        task_status.started()
        await trio.sleep_forever()


@pytest.mark.parametrize(("seconds", "named"), [(SLOW_START_SECONDS - 0.1, []), (SLOW_START_SECONDS + 0.1, ["Slow"])])
async def test_a_worker_that_has_not_started_after_5_seconds_is_named(
    seconds: float, named: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    with capture_logs() as logs:
        async with open_edge(te.Edge("tcp://127.0.0.1:6380", [Slow(seconds)], te.Forward("tcp://192.0.2.9:1"))):
            pass
    assert [each["stage"] for each in logs if each["event"].startswith("worker has not started")] == named


async def test_a_worker_that_returns_before_it_has_started_is_named_with_the_mend() -> None:
    class Hasty:
        def decide(self, session: te.Session) -> te.Verdict:
            return te.CONTINUE

        async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
            await trio.lowlevel.checkpoint()

    mend = "Hasty: its run() returned and had not called task_status.started(): call it once the worker is ready"
    with pytest.RaisesGroup(pytest.RaisesExc(te.ConfigurationError), flatten_subgroups=True) as refusal:
        await edge_to(1, Hasty()).serve()
    fault: BaseException = refusal.value
    while isinstance(fault, BaseExceptionGroup):
        (fault,) = fault.exceptions
    assert str(fault) == f"{mend}, and work until cancelled"


async def test_an_admin_socket_that_fails_is_logged_and_the_edge_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(*_: object, task_status: trio.TaskStatus[object], **__: object) -> None:
        task_status.started([])
        await trio.lowlevel.checkpoint()
        raise OSError(errno.ENOSPC, "as told")

    monkeypatch.setattr(own_server, "serve_application", serve)
    async with server() as port:
        edge = edge_to(port, admin=f"unix://{tmp_path}/admin.sock")
        with capture_logs() as logs:
            async with serving(edge) as edge_port, await connect(edge_port) as client:
                await client.send_all(b"ping")
                assert await receive_exactly(client, 4) == b"ping"
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["admin socket failed"]


async def test_an_admin_socket_that_cannot_start_is_no_edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.ENOSPC, "as told")

    monkeypatch.setattr(own_server, "serve_application", serve)
    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        await edge_to(9, admin=f"unix://{tmp_path}/admin.sock").serve()


class Stumbling:
    """A decision whose worker raises at each of its first runs, once it has started."""

    kind = "decision"

    def __init__(self, falls: int) -> None:
        self.falls = falls
        self.runs: list[float] = []

    def open(self, context: te.EdgeContext) -> "Stumbling":
        return self

    def decide(self, session: te.Session) -> te.Verdict:
        return te.CONTINUE

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.runs.append(trio.current_time())
        task_status.started()
        await trio.sleep(1)
        if len(self.runs) <= self.falls:
            raise ZeroDivisionError("stumbled")
        await trio.sleep_forever()


async def test_a_worker_that_raises_is_run_again_and_costs_no_session(autojump_clock: trio.testing.MockClock) -> None:
    part = Stumbling(3)
    with capture_logs() as logs:
        async with open_edge(te.Edge("tcp://127.0.0.1:1", [part], te.Forward("tcp://127.0.0.1:2"))) as world:
            client = await world.connect()
            for _ in range(60):
                await client.send(b"x")
                assert await client.receive(1) == b"x"
                await trio.sleep(1)
    assert len(part.runs) == 4
    pauses = [after - before - 1 for before, after in zip(part.runs, part.runs[1:], strict=False)]
    assert all(0.25 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(pauses))
    failed = [(each["stage"], "stumbled" in each["traceback"]) for each in logs if each["log_level"] == "error"]
    assert failed == [("Stumbling", True)] * 3
