import gc
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
import trio

import trioedge as te
from tests.support.logging_state import logging_restored


class Silent:
    """A control plane that never applies a snapshot, in a process that gets a signal."""

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()


@pytest.fixture
def a_process_of_its_own() -> Iterator[None]:
    """Put the process back as it was."""
    files, thresholds, hook = resource.getrlimit(resource.RLIMIT_NOFILE), gc.get_threshold(), sys.excepthook
    with logging_restored():
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    gc.set_threshold(*thresholds)
    sys.excepthook = hook
    gc.unfreeze()


def make_edge(control: te.ControlPlane, *, listen: str = "tcp://127.0.0.1:0", endpoint: object = None) -> te.Edge:
    return te.Edge(listen, [], endpoint or te.Forward("tcp://127.0.0.1:1"), control=control)


def test_a_signal_ends_an_edge_that_waits_for_its_first_snapshot(a_process_of_its_own: None) -> None:
    assert te.run(make_edge(Silent())) is te.ExitCode.DRAINED


@pytest.mark.parametrize(
    ("edge", "error", "message"),
    [
        (
            make_edge(te.MemoryControl({"default": te.Policy(session_rate=0, preconnect=1)})),
            te.ConfigurationError,
            "services.default.session_rate = 0 must be a number above 0; services.default.preconnect = 1 needs a",
        ),
        (
            make_edge(te.FileControl("/nowhere/services.toml")),
            te.ConfigurationError,
            "/nowhere/services.toml",
        ),
        (
            make_edge(te.MemoryControl(), listen="unix:///nowhere/edge.sock"),
            te.ListenError,
            "cannot listen on unix:///nowhere/edge.sock: ",
        ),
    ],
    ids=["faults", "no file", "no address"],
)
def test_an_edge_that_cannot_start_raises_one_error_without_groups(
    edge: te.Edge, error: type[te.ConfigurationError], message: str, a_process_of_its_own: None
) -> None:
    with pytest.raises(error) as refusal:
        te.run(edge)
    assert type(refusal.value) is error
    assert str(refusal.value).startswith(message)


PROGRAM = """\
import sys
import trioedge as te
{before}
edge = te.Edge("{listen}", [], te.Forward("tcp://127.0.0.1:1"), control={control})
te.run(edge)
"""


@pytest.mark.parametrize(
    ("before", "listen", "control", "code", "error"),
    [
        ("", "tcp://127.0.0.1:0", "te.FileControl('/nowhere/services.toml')", 2, "trioedge: /nowhere/services.toml: "),
        ("", "unix:///nowhere/edge.sock", None, 3, "trioedge: cannot listen on unix:///nowhere/edge.sock: "),
        ("sys.excepthook = lambda *_: print('mine')", "unix:///nowhere/edge.sock", None, 1, ""),
    ],
    ids=["no file", "no address", "a hook of its own"],
)
def test_a_program_that_does_not_catch_the_error_ends_with_one_line(
    before: str, listen: str, control: str | None, code: int, error: str
) -> None:
    program = PROGRAM.format(before=before, listen=listen, control=control)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert done.stderr.startswith(error)
    assert done.stderr.count("\n") == bool(error)
    assert done.stdout == ("mine\n" if before else "")


def test_an_unexpected_fault_keeps_its_groups(a_process_of_its_own: None) -> None:
    class Broken(Silent):
        async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
            raise LookupError("a bug")

    with pytest.raises(ExceptionGroup) as group:
        te.run(make_edge(Broken()))
    assert group.group_contains(LookupError, match="a bug")


@pytest.mark.parametrize("configured", [False, True])
def test_logs_go_to_stderr_unless_the_program_has_configured_structlog(
    configured: bool, a_process_of_its_own: None, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[str] = []

    def keep(logger: object, method: str, event: structlog.typing.EventDict) -> str:
        written.append(event["event"])
        raise structlog.DropEvent

    if configured:
        structlog.configure(processors=[keep])
    te.run(make_edge(Silent()))
    error = capsys.readouterr().err
    assert ("stopped" in written, " stopped " in error) == (configured, not configured)


@pytest.mark.parametrize("wrong", [None, [], te.Edge])
def test_only_an_edge_is_run(wrong: Any) -> None:
    with pytest.raises(te.ConfigurationError) as refusal:
        te.run(wrong)
    assert str(refusal.value) == f"te.run({wrong!r}) must be called with an Edge: te.run(edge)"
