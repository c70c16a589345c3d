"""The log level over the admin API."""

from collections.abc import Iterator

import pytest

import trioedge as te
from tests.support.admin import admin_world, answers
from tests.support.edges import make_edge, services
from tests.support.logging_state import logging_restored
from trioedge.admin.topics.level import merge_level
from trioedge.process.logs import configure_structlog


@pytest.fixture
def _configured() -> Iterator[None]:
    with logging_restored():
        configure_structlog(level="warning")
        yield


@pytest.mark.usefixtures("_configured")
async def test_the_level_is_told_and_set_and_sessions_are_logged_by_it(autojump_clock: object) -> None:
    async with admin_world(make_edge(services(a=te.Policy()))) as world:
        assert await world.get("/v1/log-level") == {"level": "warning"}
        assert not world.local.run.log.debugs
        assert (await world.ask("PUT", "/v1/log-level", {"level": "debug"})).json == {"level": "debug"}
        assert await world.get("/v1/log-level") == {"level": "debug"}
        assert world.local.run.log.debugs, "sessions that are refused are logged from now on"


@pytest.mark.parametrize("body", [{}, {"level": "loud"}, {"level": 10}, {"level": ["info"]}])
async def test_a_level_that_there_is_not_is_a_fault(autojump_clock: object, body: object) -> None:
    async with admin_world(make_edge(services())) as world:
        answer = await world.ask("PUT", "/v1/log-level", body)
        assert answer.status == 422
        assert answer.json["faults"][0].startswith("body.level: ")


def test_the_lowest_level_of_workers_is_told() -> None:
    assert merge_level(answers("error", "info"), {}) == {"level": "info"}
