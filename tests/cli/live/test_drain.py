import json

import pytest

from tests.cli.conftest import Command
from tests.support.fake_edge import Asking, FakeEdge
from trioedge.cli.live import drain


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "LOOK_SECONDS", 0)


def test_show_says_who_would_be_left_and_drains_nothing(fake: FakeEdge, command: Command) -> None:
    assert command("drain", "--show") == (0, "serving: 12 sessions live (shop 12)\n", "")
    assert {each.method for each in fake.asked} == {"GET"}
    fake.answers["GET", "/v1/drain"] = (200, {"phase": "draining", "live": 0, "deadline_seconds": 8.25})
    assert command("drain", "--show")[1] == "draining: 0 sessions left, cut in 8.2 s\n"
    assert json.loads(command("drain", "--show", "--json")[1])["phase"] == "draining"


def test_a_drain_begins_with_the_seconds_that_are_given(fake: FakeEdge, command: Command) -> None:
    assert command("drain", "--seconds", "7.5") == (0, "draining: 12 sessions left, cut in 10 s\n", "")
    assert fake.asked[-1].body == {"seconds": 7.5}
    command("drain")
    assert fake.asked[-1].body == {}


def test_wait_shows_who_is_left_until_the_edge_has_ended(fake: FakeEdge, command: Command) -> None:
    left = [12, 3, 3, 1]

    def state(asking: Asking) -> tuple[int, object]:
        if not left:
            return 200, b""  # as of a connection that broke
        return 200, {"phase": "draining", "live": left.pop(0), "deadline_seconds": None}

    fake.answers["GET", "/v1/drain"] = state
    code, out, error = command("drain", "--wait")
    assert (code, out) == (0, "draining: 12 sessions left, cut in 10 s\nthe edge has ended\n")
    assert error.splitlines() == ["draining: 3 sessions left", "draining: 1 session left"]


def test_an_edge_that_has_stopped_has_ended(fake: FakeEdge, command: Command) -> None:
    fake.answers["GET", "/v1/drain"] = (200, {"phase": "stopped", "live": 0, "deadline_seconds": None})
    assert command("drain", "--wait")[1].splitlines()[-1] == "the edge has ended"


def test_a_no_drains_nothing(fake: FakeEdge, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def no(question: str, yes: bool) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr(drain, "confirmed", no)
    assert command("drain") == (1, "", "")
    assert asked == ["serving: 12 sessions live (shop 12). Drain it, so that it ends?"]
    assert {each.method for each in fake.asked} == {"GET"}


def test_show_goes_with_nothing_that_drains(command: Command) -> None:
    for options in (["--wait"], ["--seconds", "3"]):
        assert command("drain", "--show", *options)[0] == 2
    assert command("drain", "--seconds", "-1")[0] == 2
