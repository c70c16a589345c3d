"""Runtime tests: how many sessions an edge takes by default."""

import resource

import pytest

import trioedge as te
from trioedge.serving.affordable import SPARE_DESCRIPTORS
from trioedge.testing import open_edge


@pytest.mark.parametrize(("files", "sessions"), [(1024, (1024 - SPARE_DESCRIPTORS - 100) // 2), (65, 1), (10, 1)])
async def test_max_sessions_is_by_default_what_the_file_descriptors_allow(
    files: int, sessions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward("tcp://192.0.2.9:1", preconnect=100))
    async with open_edge(edge):
        assert edge._run.sessions._max == sessions  # type: ignore[union-attr]


async def test_the_limit_of_files_is_read_when_the_edge_starts_also_for_its_idle_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward(), control=te.MemoryControl())
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20_000, 20_000))
    async with open_edge(edge):
        assert edge._run.sessions._max == (20_000 - SPARE_DESCRIPTORS - 2_500) // 2  # type: ignore[union-attr]
