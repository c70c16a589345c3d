import json

import pytest

from tests.cli.conftest import Command
from tests.support.fake_edge import Asking, FakeEdge
from trioedge.cli.live import restart


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "LOOK_SECONDS", 0)


def state(generation: int, *, under_way: bool = False, refused: str = "") -> tuple[int, dict[str, object]]:
    return 200, {"generation": generation, "under_way": under_way, "refused": refused}


def test_a_restart_is_done_when_the_next_version_answers(fake: FakeEdge, command: Command) -> None:
    looks = [state(3, under_way=True), (200, b""), state(3, under_way=True), state(4)]

    def look(_: Asking) -> tuple[int, object]:
        return looks.pop(0)  # the second one is as of a connection that broke

    fake.answers["POST", "/v1/restart"] = state(3, under_way=True)
    fake.answers["GET", "/v1/restart"] = look
    assert command("restart") == (0, "restarted: this is restart 4\n", "")
    assert not looks


def test_a_version_that_does_not_start_is_said_with_code_1(fake: FakeEdge, command: Command) -> None:
    fake.answers["POST", "/v1/restart"] = state(3, under_way=True)
    fake.answers["GET", "/v1/restart"] = state(3, refused="a trial ended with exit code 2")
    code, out, error = command("restart")
    assert (code, out) == (1, "")
    assert "the old version goes on: a trial ended with exit code 2" in error


def test_no_wait_comes_back_at_once_and_json_is_the_answer(fake: FakeEdge, command: Command) -> None:
    fake.answers["POST", "/v1/restart"] = state(0, under_way=True)
    assert command("restart", "--no-wait") == (0, "the restart has begun\n", "")
    assert json.loads(command("restart", "--no-wait", "--json")[1]) == state(0, under_way=True)[1]
    assert {each.method for each in fake.asked} == {"POST"}


def test_an_edge_of_one_process_is_an_error_of_the_edge(fake: FakeEdge, command: Command) -> None:
    fake.answers["POST", "/v1/restart"] = (409, {"error": "a restart in place needs --workers 2, or more"})
    code, _, error = command("restart")
    assert code == 1
    assert "needs --workers 2" in error


def test_a_new_version_that_never_serves_is_given_up(
    fake: FakeEdge, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart, "PATIENCE_SECONDS", 0.05)
    fake.answers["POST", "/v1/restart"] = fake.answers["GET", "/v1/restart"] = state(3, under_way=True)
    code, _, error = command("restart")
    assert code == 3
    assert "does not serve after" in error
