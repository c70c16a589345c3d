"""An operator asks for the source to be read again: from SIGHUP to the control plane."""

from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.support.fake_link import FakeLink
from trioedge.control import watched_file
from trioedge.services.control_plane import Reloads
from trioedge.testing import open_edge


class Asked(te.MemoryControl):
    """A control plane that counts how often it was asked, and may raise."""

    def __init__(self, fault: BaseException | None = None) -> None:
        super().__init__({"default": te.Policy()})
        self.asked = 0
        self._fault = fault

    def reload(self) -> None:
        self.asked += 1
        if self._fault is not None:
            raise self._fault


def edge_of(control: te.ControlPlane | None) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:1", [], te.Forward("tcp://192.0.2.9:1"), control=control)


@pytest.mark.parametrize(("control", "asks"), [(Asked(), True), (te.MemoryControl(), False), (None, False)])
async def test_an_edge_asks_a_control_plane_that_can_read_again(
    control: Any, asks: bool, autojump_clock: MockClock
) -> None:
    edge = edge_of(control)
    edge.reload()  # it does not serve yet
    with capture_logs() as logs:
        async with open_edge(edge):
            edge.reload()
    edge.reload()
    assert [entry["event"] for entry in logs if entry["event"] == "reloading"] == ["reloading"]
    assert isinstance(control, Reloads) is asks
    if asks:
        assert control.asked == 1


@pytest.mark.parametrize("fault", [LookupError("x"), BaseException("x")])
async def test_a_control_plane_that_raises_is_logged(autojump_clock: MockClock, fault: BaseException) -> None:
    edge = edge_of(Asked(fault))
    with capture_logs() as logs:
        async with open_edge(edge) as world:
            edge.reload()
            client = await world.connect()
            await client.send(b"ping")
            assert await client.receive(4) == b"ping"
    assert [str(entry["exc_info"]) for entry in logs if entry["event"] == "reload failed"] == ["x"]


async def test_a_file_is_read_again_whether_it_has_changed_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_file, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(watched_file, "SETTLED_SECONDS", 0.01)
    (tmp_path / "services.toml").write_text("[services.shop]\n")
    control, link = te.FileControl(tmp_path / "services.toml"), FakeLink()
    control.reload()  # no run: nothing to do
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, link)
        for count in (1, 2):
            control.reload()
            with trio.fail_after(10):
                while link.reaches < count:
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
