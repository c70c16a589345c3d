"""Tables of users' stages, all the way from a file and over HTTP to the edge's end of the line."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.admin import FakeControl, api_of, ask
from tests.support.control_planes import Scripted, snapshot
from tests.support.fake_link import FakeLink
from tests.support.policies import STAGE_KEYS, Hours
from trioedge.control import http, watched_file
from trioedge.control.file import read_services

SHOP = "[services.shop]\nsession_rate = 5\n\n[services.shop.hours]\nsince = 8\n"


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are noticed soon."""
    monkeypatch.setattr(watched_file, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(watched_file, "SETTLED_SECONDS", 0.01)
    monkeypatch.setattr(http, "SOONEST_SECONDS", 0.01)
    monkeypatch.setattr(http, "FIRST_RETRY_SECONDS", 0.02)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "services.toml"
    path.write_text(SHOP)
    return path


@contextmanager
def patience() -> Iterator[None]:
    with trio.fail_after(10):
        yield


async def test_a_file_is_read_with_the_keys_of_the_edge_at_the_start_and_later(path: Path) -> None:
    link = FakeLink(STAGE_KEYS)
    with patience():
        async with trio.open_nursery() as nursery:
            await nursery.start(te.FileControl(path).run, link)
            assert link.services == {"shop": te.Settings(te.Policy(session_rate=5, stages=(Hours(8),)))}
            await trio.Path(path).write_text(SHOP.replace("8", "9"))
            await link.until(lambda link: link.services["shop"].policy[Hours].since == 9)
            await trio.Path(path).write_text(SHOP.replace("since", "sinse"))
            await link.until(lambda link: link.errors)
            nursery.cancel_scope.cancel()
    fault = "services.shop.hours has no key 'sinse' (did you mean since?): there are since, until"
    assert link.errors == [f"snapshot refused: {path}: {fault}"]


async def test_an_edge_without_such_a_stage_refuses_the_file_at_the_start(path: Path) -> None:
    with pytest.raises(te.ConfigurationError, match=r"services\.shop has no table 'hours': no stage names a class"):
        await te.FileControl(path).run(FakeLink())


def test_a_file_is_read_with_keys_by_a_program(path: Path) -> None:
    expected = te.Settings(te.Policy(session_rate=5, stages=(Hours(8),)))
    for read in (te.FileControl(path).read, partial(read_services, path)):
        assert read(STAGE_KEYS).services == {"shop": expected}


async def test_lines_over_http_are_read_with_the_keys_of_the_edge() -> None:
    lines: list[dict[str, Any]] = [{"name": "shop", "hours": {"since": 8}}, {"name": "shop", "hours": {"since": "8"}}]
    plane, link = Scripted(*(snapshot([line]) for line in lines)), FakeLink(STAGE_KEYS)
    with patience():
        async with plane.serving() as url, trio.open_nursery() as nursery:
            nursery.start_soon(te.HttpControl(url).run, link)
            await link.until(lambda link: link.errors)
            nursery.cancel_scope.cancel()
    assert link.services == {"shop": te.Settings(te.Policy(stages=(Hours(8),)))}
    assert link.errors[0].endswith("services.shop.hours.since = '8' must be a whole number")


async def test_a_plan_of_the_admin_api_is_read_with_the_keys_of_the_edge() -> None:
    controlled = FakeControl(stage_keys=STAGE_KEYS)
    body = b'{"version": "8", "full": true}\n{"name": "shop", "hours": {"since": 8}}\n{"end": 1}\n'
    answer = await ask(api_of(controlled), "POST", "/v1/plan", body)
    assert answer.status == 200
    assert controlled.snapshots[0].services["shop"].policy[Hours].since == 8
