import gc
import resource
import signal
from collections.abc import Iterator

import pytest
import structlog
import trio

import trioedge as te


class Silent:
    """A control plane that never says a word, and somebody who loses patience."""

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()


@pytest.fixture
def a_process_of_its_own() -> Iterator[None]:
    """Leave the process as it was found."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    gc.unfreeze()
    structlog.reset_defaults()


def make_edge(control: te.ControlPlane, *, listen: str = "tcp://127.0.0.1:0", endpoint: object = None) -> te.Edge:
    return te.Edge(listen, [], endpoint or te.Forward("tcp://127.0.0.1:1"), control=control)


def test_a_signal_ends_an_edge_whose_control_plane_never_spoke(a_process_of_its_own: None) -> None:
    assert te.run(make_edge(Silent())) is te.ExitCode.DRAINED


@pytest.mark.parametrize(
    ("edge", "error", "message"),
    [
        (
            make_edge(te.MemoryControl({"default": te.Policy(session_rate=0, preconnect=1)})),
            te.ConfigurationError,
            "services.default.session_rate = 0 must be a number above 0; services.default.preconnect = 1 needs an",
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
def test_what_cannot_be_is_one_error_out_of_all_nurseries(
    edge: te.Edge, error: type[te.ConfigurationError], message: str, a_process_of_its_own: None
) -> None:
    with pytest.raises(error) as refusal:
        te.run(edge)
    assert type(refusal.value) is error
    assert str(refusal.value).startswith(message)


def test_a_fault_stays_what_it_is(a_process_of_its_own: None) -> None:
    class Broken(Silent):
        async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
            raise LookupError("a bug")

    with pytest.raises(ExceptionGroup) as group:
        te.run(make_edge(Broken()))
    assert group.group_contains(LookupError, match="a bug")
