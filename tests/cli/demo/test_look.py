"""A look at an edge, also while it is out of reach."""

import pytest
import trio

from tests.support.fake_edge import BLOG, CONTROL, SERVICE, SESSION, STATISTICS, FakeEdge, page
from trioedge.addresses.address import parse_address
from trioedge.cli.client.client import EdgeClient
from trioedge.cli.client.errors import AdminError, UnreachableError
from trioedge.cli.demo import look
from trioedge.cli.demo.look import SESSIONS, look_at


def client_of(address: str) -> EdgeClient:
    return EdgeClient(parse_address(address))


async def test_a_look_has_counts_state_services_and_the_first_sessions(fake: FakeEdge) -> None:
    fake.answers["GET", "/v1/sessions"] = page(SESSION)
    seen = await look_at(client_of(fake.address))
    assert (seen.statistics, seen.state, seen.sessions) == (STATISTICS, CONTROL, [SESSION])
    assert seen.services == {"blog": BLOG, "shop": SERVICE}
    (asked,) = [each for each in fake.asked if each.path == "/v1/sessions"]
    assert asked.query["limit"] == str(SESSIONS)


async def test_an_edge_that_is_out_of_reach_for_a_moment_is_asked_again(
    fake: FakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trio.Path(fake.address.removeprefix("unix://"))
    away = path.with_name("away")
    await path.rename(away)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_at, client_of(fake.address))
        await trio.sleep(0.05)
        assert fake.asked == []
        await away.rename(path)
    assert len(fake.asked) == 4


async def test_an_edge_that_stays_out_of_reach_is_an_error(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    monkeypatch.setattr(look, "PATIENCE_SECONDS", 0.3)
    with pytest.raises(UnreachableError, match="is not there"):
        await look_at(client_of("unix:///no/edge.sock"))


async def test_an_edge_that_refuses_is_not_asked_again(fake: FakeEdge) -> None:
    fake.token = "secret"
    with pytest.raises(AdminError):
        await look_at(client_of(fake.address))
    assert len(fake.asked) == 1


async def test_a_cancel_ends_the_wait_for_an_edge(autojump_clock: object) -> None:
    with trio.move_on_after(1) as scope:
        await look_at(client_of("unix:///no/edge.sock"))
    assert scope.cancelled_caught
